// /api/streams/{name}/snapshot: the latest snapshot of a stream's state, as JSON or as bytes.
import { Type } from "@sinclair/typebox";
import { forbidden, invalidParameter, invalidRequest, streamNotFound } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { saying } from "../base/schema.ts";
import type { Pool } from "../storage/pool.ts";
import { JsonWalk } from "../stream/json-text.ts";
import { putSnapshot, readSnapshot, type SnapshotContent } from "../stream/snapshot.ts";
import { type BodyReader, decodeUtf8 } from "./body.ts";
import { type Handler, json } from "./context.ts";
import { createBodyCheck, parseJson } from "./json-body.ts";
import { readQuery, readStreamName } from "./parameters.ts";

export type SnapshotsDependencies = { reads: Pool; writes: Pool; body: BodyReader; log: Log };

export type SnapshotsHandlers = { get: Handler; put: Handler };

const offsetPattern = /^\d{1,16}$/;
/** Whose snapshot it is. */
export const ownerPattern = /^(client|decider:[a-z][a-z0-9-]{0,62})$/;
// RFC 9110, section 8.3.1.
const mediaTypePattern = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+[ \t]*(;[\x20-\x7e\t]*)?$/;
const maxMediaType = 256;
const bytesType = "application/octet-stream";

export const SnapshotInput = Type.Object(
  {
    offset: Type.Union(
      [Type.String({ pattern: offsetPattern.source }), Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })],
      {
        description: "Of the last event that is in the state",
        ...saying('must be an offset, such as "17"'),
      },
    ),
    state: Type.Unknown({ description: "Any JSON value" }),
  },
  { additionalProperties: false },
);

const checkInput = createBodyCheck(SnapshotInput);

export function snapshotsHandlers({ reads, writes, body, log }: SnapshotsDependencies): SnapshotsHandlers {
  return {
    async get({ request, params, principal }) {
      const name = readStreamName(params.name ?? "");
      const by = readQuery(request, ["by"]).get("by");
      if (by !== null && !ownerPattern.test(by))
        throw invalidParameter("by", "by is client, or decider: and the name of a decider");
      if (!principal.canRead(name)) throw streamNotFound(name);
      const snapshot = await readSnapshot(reads, name, by);
      const offset = String(snapshot.offset);
      if (snapshot.state !== null) {
        // The state as it came: numbers keep digits that JavaScript would round off.
        const text = `{"offset":"${offset}","state":${snapshot.state},"recordedtime":"${snapshot.recordedTime}","by":"${snapshot.by}"}`;
        return new Response(text, { headers: { "content-type": "application/json", etag: `"${offset}"` } });
      }
      return new Response(new Uint8Array(snapshot.binary), {
        headers: {
          "content-type": snapshot.contentType,
          etag: `"${offset}"`,
          "snapshot-offset": offset,
          "snapshot-recorded-time": snapshot.recordedTime,
          "snapshot-by": snapshot.by,
          // Whoever may put bytes must not have a script of theirs run as a page of this service.
          "content-security-policy": "sandbox",
          "x-content-type-options": "nosniff",
        },
      });
    },
    async put({ request, params, principal, requestId }) {
      const name = readStreamName(params.name ?? "");
      if (!principal.canAppend(name)) throw forbidden(`Saving snapshots of stream ${name} is not allowed`);
      const place = readQuery(request, ["offset"]).get("offset");
      const contentType = request.headers.get("content-type") ?? bytesType;
      const isJson = (contentType.split(";", 1)[0] as string).trim().toLowerCase() === "application/json";
      if (isJson && place !== null)
        throw invalidParameter("offset", "The offset of a JSON state stands in the body, beside the state");
      if (!isJson) requireBytesPlace(place, contentType);
      const bytes = await body.bytes(request);
      const { offset, ...content } = isJson
        ? readJsonState(decodeUtf8(bytes))
        : { offset: Number(place), state: null, binary: bytes };
      const { isNew, recordedTime } = await putSnapshot(writes, name, {
        ...(content as SnapshotContent),
        offset,
        contentType: isJson ? "application/json" : contentType,
      });
      log.debug({ requestId: requestId(), stream: name, offset }, "snapshot saved");
      const answer = { offset: String(offset), recordedtime: recordedTime, by: "client" };
      return json(answer, isNew ? 201 : 200, { etag: `"${offset}"` });
    },
  };
}

function readJsonState(text: string): SnapshotContent & { offset: number } {
  const { offset } = checkInput(parseJson(text));
  const span = new JsonWalk(text).member("state") as { start: number; end: number };
  const state = text.slice(span.start, span.end);
  const walk = new JsonWalk(state);
  walk.value();
  if (walk.refusal !== null) throw invalidRequest([{ path: "/state", message: walk.refusal }]);
  return { offset: Number(offset), state, binary: null };
}

/** Throws `invalid-parameter`. */
function requireBytesPlace(place: string | null, contentType: string): void {
  if (place === null)
    throw invalidParameter(
      "offset",
      `A body of ${contentType.slice(0, 100)} is kept as bytes, and offset says up to which event; JSON is sent as application/json`,
    );
  if (!offsetPattern.test(place)) throw invalidParameter("offset", "offset is the offset of an event, such as 17");
  if (contentType.length > maxMediaType || !mediaTypePattern.test(contentType))
    throw invalidParameter("Content-Type", `Content-Type is a media type of at most ${maxMediaType} characters`);
}
