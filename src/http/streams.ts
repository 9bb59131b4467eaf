// /api/streams and /api/streams/{name}: lists, describes, configures and deletes streams.
import { forbidden, malformedBody, streamNotFound } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Principal } from "../base/principal.ts";
import type { Pool } from "../storage/pool.ts";
import type { Naming } from "../stream/cross-service/names.ts";
import { parseConfiguration, type StreamConfiguration } from "../stream/stream-configuration.ts";
import { configureStream, deleteStream, describeStream, listStreams } from "../stream/streams.ts";
import type { BodyReader } from "./body.ts";
import { type Handler, json } from "./context.ts";
import { readNumber, readQuery, readStreamName } from "./parameters.ts";

export type StreamsDependencies = {
  reads: Pool;
  writes: Pool;
  /** How streams are named in NATS that say nothing of their own. */
  naming: Naming;
  body: BodyReader;
  log: Log;
  /** A stream has this configuration now. */
  onConfigured: (name: string, configuration: StreamConfiguration) => Promise<void>;
  /** A control record was written at this position. */
  onControl: (position: number) => void;
  /** The log has no partition for the next position; resolves when it is worth trying again. */
  onNoPartition: () => Promise<void>;
};

export type StreamsHandlers = { list: Handler; get: Handler; head: Handler; put: Handler; remove: Handler };

export function streamsHandlers({
  reads,
  writes,
  naming,
  body,
  log,
  onConfigured,
  onControl,
  onNoPartition,
}: StreamsDependencies): StreamsHandlers {
  const visible = (principal: Principal, name: string) => {
    if (!principal.canRead(name)) throw streamNotFound(name);
    return name;
  };
  const manageable = (principal: Principal, name: string) => {
    if (!principal.canManage(name)) throw forbidden(`Managing stream ${name} is not allowed`);
    return name;
  };
  const get: Handler = async ({ request, params, principal }) => {
    readQuery(request, []);
    const found = await describeStream(reads, visible(principal, readStreamName(params.name ?? "")));
    return json(found.description, 200, { etag: `"${found.version}"` });
  };
  return {
    get,
    async head(exchange) {
      const { status, headers } = await get(exchange);
      return new Response(null, { status, headers });
    },
    async list({ request, principal }) {
      const query = readQuery(request, ["prefix", "after", "limit"]);
      const prefix = query.get("prefix") ?? "";
      const after = query.get("after") ?? "";
      if (prefix !== "") readStreamName(prefix);
      if (after !== "") readStreamName(after);
      const limit = readNumber(query, "limit", 100, 1_000);
      const { streams, next } = await listStreams(reads, principal, prefix, after, limit);
      const following = new URLSearchParams(query);
      if (next !== null) following.set("after", next);
      return json({ streams, next: next === null ? null : `/api/streams?${following}` });
    },
    async put({ request, params, principal, requestId }) {
      const name = manageable(principal, readStreamName(params.name ?? ""));
      readQuery(request, []);
      const text = await body.text(request);
      let value: unknown;
      try {
        value = text.trim() === "" ? {} : JSON.parse(text);
      } catch {
        throw malformedBody("The body is not JSON");
      }
      const configuration = parseConfiguration(value);
      const isNew = await configureStream(writes, name, configuration, naming);
      await onConfigured(name, configuration);
      log.info(
        { requestId: requestId(), stream: name, ...configuration },
        isNew ? "stream created" : "stream configured",
      );
      const { description, version } = await describeStream(reads, name);
      return json(description, isNew ? 201 : 200, { etag: `"${version}"` });
    },
    async remove({ request, params, principal, requestId }) {
      const name = manageable(principal, readStreamName(params.name ?? ""));
      readQuery(request, []);
      const { position } = await deleteStream(writes, name, onNoPartition);
      log.info({ requestId: requestId(), stream: name, position }, "stream deleted");
      onControl(position);
      return new Response(null, { status: 204 });
    },
  };
}
