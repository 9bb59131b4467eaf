// /api/remote-streams: streams of other services that are mirrored here, and their messages that could not become events.
import { deadLetterNotFound, forbidden, invalidRequest, remoteStreamNotFound } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Principal } from "../base/principal.ts";
import type { Mirrors } from "../delivery/bridge/inbound/mirrors.ts";
import type { Pool } from "../storage/pool.ts";
import type { Naming } from "../stream/cross-service/names.ts";
import { parseRemoteDefinition } from "../stream/remote/definition.ts";
import {
  discardLetters,
  findLetter,
  type LetterChoice,
  listLetters,
  type RemoteLetter,
  replayLetters,
} from "../stream/remote/letters.ts";
import { requireMirrorable } from "../stream/remote/own-streams.ts";
import {
  configureRemoteStream,
  describeRemoteStream,
  listRemoteStreams,
  type RemoteStanding,
  removeRemoteStream,
} from "../stream/remote/remote-streams.ts";
import type { BodyReader } from "./body.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { DeadLetterChoice } from "./dead-letters.ts";
import { createJsonReader, readJson } from "./json-body.ts";
import { readAfter, readNumber, readQuery, readStreamName } from "./parameters.ts";
import type { RemoteStreamView } from "./remote-stream-view.ts";

export type RemoteStreamsDependencies = {
  reads: Pool;
  writes: Pool;
  mirrors: Pick<Mirrors, "wake" | "forget">;
  naming: Naming;
  show: RemoteStreamView;
  body: BodyReader;
  log: Log;
};

export type RemoteStreamsHandlers = {
  list: Handler;
  get: Handler;
  put: Handler;
  remove: Handler;
  letters: Handler;
  letter: Handler;
  replay: Handler;
  discard: Handler;
};

const readChoice = createJsonReader(DeadLetterChoice);

export function remoteStreamsHandlers({
  reads,
  writes,
  mirrors,
  naming,
  show,
  body,
  log,
}: RemoteStreamsDependencies): RemoteStreamsHandlers {
  /** Throws `invalid-stream-name`, `remote-stream-not-found`. */
  async function visible({ params, principal }: Exchange): Promise<RemoteStanding> {
    const name = readStreamName(params.name ?? "");
    if (!principal.canRead(name)) throw remoteStreamNotFound(name);
    return describeRemoteStream(reads, name);
  }

  /** Throws also `forbidden`. */
  function manageable(principal: Principal, given: string | undefined): string {
    const name = readStreamName(given ?? "");
    if (!principal.canManage(name)) throw forbidden(`Managing the remote stream ${name} is not allowed`);
    return name;
  }

  async function chosen(exchange: Exchange): Promise<{ remote: RemoteStanding; choice: LetterChoice }> {
    readQuery(exchange.request, []);
    const remote = await visible(exchange);
    manageable(exchange.principal, remote.name);
    const { ids, all } = await readChoice(body, exchange.request);
    if ((ids === undefined) === (all === undefined))
      throw invalidRequest([{ path: "", message: "must have ids, or all" }]);
    return { remote, choice: ids === undefined ? { all: true } : { ids: ids.map(Number) } };
  }

  return {
    async list({ request, principal }) {
      const query = readQuery(request, ["after", "limit"]);
      const limit = readNumber(query, "limit", 100, 1_000);
      const after = query.get("after") ?? "";
      if (after !== "") readStreamName(after);
      const found = await listRemoteStreams(reads, after, limit + 1);
      const shown = found.slice(0, limit);
      const following = new URLSearchParams(query);
      following.set("after", shown.at(-1)?.name ?? "");
      return json({
        remoteStreams: shown.filter(({ name }) => principal.canRead(name)).map(show),
        next: found.length > limit ? `/api/remote-streams?${following}` : null,
      });
    },
    async get(exchange) {
      readQuery(exchange.request, []);
      return json(show(await visible(exchange)));
    },
    async put({ request, params, principal, requestId }) {
      readQuery(request, []);
      const name = manageable(principal, params.name);
      const own = { service: naming.service, stream: name };
      const definition = parseRemoteDefinition(await readJson(body, request), own);
      await requireMirrorable(reads, name, definition.source, naming, principal);
      const isNew = await configureRemoteStream(writes, name, definition);
      mirrors.wake();
      log.info(
        { requestId: requestId(), remoteStream: name, ...definition },
        isNew ? "remote stream created" : "remote stream configured",
      );
      return json(show(await describeRemoteStream(reads, name)), isNew ? 201 : 200);
    },
    async remove({ request, params, principal, requestId }) {
      readQuery(request, []);
      const remote = await removeRemoteStream(writes, manageable(principal, params.name));
      log.info({ requestId: requestId(), remoteStream: remote.name }, "remote stream removed");
      await mirrors.forget(remote);
      return new Response(null, { status: 204 });
    },
    async letters(exchange) {
      const query = readQuery(exchange.request, ["after", "limit"]);
      const { id, name } = await visible(exchange);
      const page = { after: readAfter(query) ?? 0, limit: readNumber(query, "limit", 100, 1_000) };
      const { letters, next } = await listLetters(reads, id, page);
      const following = new URLSearchParams(query);
      following.set("after", String(next));
      return json({
        deadLetters: letters.map(print),
        next: next === null ? null : `/api/remote-streams/${name}/dead-letters?${following}`,
      });
    },
    async letter(exchange) {
      readQuery(exchange.request, []);
      const remote = await visible(exchange);
      const id = exchange.params.id ?? "";
      if (!/^\d{1,15}$/.test(id)) throw deadLetterNotFound(`The remote stream ${remote.name}`, id.slice(0, 100));
      return json(print(await findLetter(reads, remote, Number(id))));
    },
    async replay(exchange) {
      const { remote, choice } = await chosen(exchange);
      const replayed = await replayLetters(writes, remote.id, choice);
      if (replayed > 0) mirrors.wake();
      log.info({ requestId: exchange.requestId(), remoteStream: remote.name, replayed }, "dead letters put back");
      return json({ replayed });
    },
    async discard(exchange) {
      const { remote, choice } = await chosen(exchange);
      const discarded = await discardLetters(writes, remote.id, choice);
      log.info({ requestId: exchange.requestId(), remoteStream: remote.name, discarded }, "dead letters discarded");
      return json({ discarded });
    },
  };
}

/** The payload as text where it is text, else in Base64. */
function print({ id, headers, payload, sequence, storedMs, ...rest }: RemoteLetter) {
  return {
    id: String(id),
    ...rest,
    sequence: String(sequence),
    storedAt: new Date(storedMs).toISOString(),
    headers: Object.fromEntries(headers),
    ...content(payload),
  };
}

function content(payload: Uint8Array): { payload: string } | { payloadBase64: string } {
  try {
    return { payload: new TextDecoder("utf-8", { fatal: true }).decode(payload) };
  } catch {
    return { payloadBase64: Buffer.from(payload).toString("base64") };
  }
}
