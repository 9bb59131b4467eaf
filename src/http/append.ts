// POST /api/streams/{name}/events: appends one event or many.
import { forbidden, invalidParameter, Problem } from "../base/errors.ts";
import { contentHash } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Appended, Appender } from "../stream/append.ts";
import { type AppendRequest, scopeKey } from "../stream/append-request.ts";
import { parseBinaryMode, parseJsonBody, refuseContradictions } from "../stream/cloudevents.ts";
import type { NewEvent } from "../stream/event.ts";
import type { ParseContext } from "../stream/event-input.ts";
import { type BodyReader, decodeUtf8 } from "./body.ts";
import type { Handler } from "./context.ts";
import { readExpected, readIdempotencyKey, readQuery, readStreamName } from "./parameters.ts";

export type AppendDependencies = {
  appender: Appender;
  body: BodyReader;
  service: string;
  log: Log;
  /** Seconds from the arrival of the request to its answer. */
  observeLatency: (seconds: number) => void;
};

export function appendHandler({ appender, body, service, log, observeLatency }: AppendDependencies): Handler {
  const verbose = log.isLevelEnabled("debug");
  return async ({ request, params, principal, requestId }) => {
    const started = performance.now();
    const stream = readStreamName(params.name ?? "");
    if (request.url.includes("?")) readQuery(request, []);
    if (!principal.canAppend(stream)) throw forbidden(`Appending to stream ${stream} is not allowed`);
    const { headers } = request;
    const given = readIdempotencyKey(headers);
    const key = given === null ? null : scopeKey(principal.name, stream, given);
    const expected = readExpected(headers);
    const contentType = headers.get("content-type");
    const bytes = await body.bytes(request);
    const idempotency: AppendRequest["idempotency"] =
      key === null
        ? null
        : {
            key,
            requestHash: contentHash([
              request.method,
              stream,
              String(expected),
              contentType ?? "",
              ceHeaders(headers),
              bytes,
            ]),
          };
    // Ids follow from the key and the request: when the key is forgotten, the same request is still recognised, and
    // another one is another.
    const context: ParseContext = {
      stream,
      service,
      idempotencyKey: idempotency === null ? null : `${idempotency.key}\n${idempotency.requestHash}`,
    };
    const { events, isList } = readEvents(headers, contentType, bytes, context);
    refuseContradictions(stream, events);
    const appended = await appender.append({ stream, events, expected, idempotency, isList });
    observeLatency((performance.now() - started) / 1_000);
    if (verbose) {
      const correlationIds = [...new Set(events.map((event) => event.correlationId))].filter((id) => id !== null);
      log.debug(
        { requestId: requestId(), stream, events: events.length, correlationIds, lastPosition: appended.lastPosition },
        "appended",
      );
    }
    return answer(appended);
  };
}

const beginsAsArray = /^\s*\[/;

function readEvents(
  headers: Headers,
  contentType: string | null,
  bytes: Uint8Array,
  context: ParseContext,
): { events: NewEvent[]; isList: boolean } {
  const mediaType = contentType === null ? "" : (contentType.split(";", 1)[0] as string).trim().toLowerCase();
  if (mediaType === "application/cloudevents-batch+json" || mediaType === "application/cloudevents+json") {
    const text = decodeUtf8(bytes);
    const isArray = beginsAsArray.test(text);
    if (isArray !== mediaType.includes("batch")) {
      throw invalidParameter(
        "Content-Type",
        "application/cloudevents+json is one event, application/cloudevents-batch+json an array",
      );
    }
    return { events: parseJsonBody(text, true, context), isList: isArray };
  }
  if (headers.has("ce-specversion") || headers.has("ce-type") || headers.has("ce-id")) {
    return { events: parseBinaryMode(headers, contentType, bytes, decodeUtf8, context), isList: false };
  }
  if (mediaType === "application/json") {
    const text = decodeUtf8(bytes);
    return { events: parseJsonBody(text, false, context), isList: beginsAsArray.test(text) };
  }
  throw new Problem(
    "unsupported-media-type",
    "Events are appended as application/json, application/cloudevents+json, application/cloudevents-batch+json, or with ce-* headers and any content",
  );
}

function ceHeaders(headers: Headers): string {
  return JSON.stringify([...headers].filter(([name]) => name.startsWith("ce-")).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function answer(appended: Appended): Response {
  const { stream, events, lastPosition } = appended;
  let first = Number.MAX_SAFE_INTEGER;
  let last = -1;
  let list = "";
  let duplicates = 0;
  for (const event of events) {
    if (event.offset < first) first = event.offset;
    if (event.offset > last) last = event.offset;
    if (event.duplicate) duplicates++;
    list += `${list === "" ? "" : ","}{"id":${JSON.stringify(event.id)},"offset":"${event.offset}","duplicate":${event.duplicate}}`;
  }
  return new Response(
    `{"stream":"${stream}","firstOffset":"${first}","lastOffset":"${last}","lastPosition":"${lastPosition}","events":[${list}]}`,
    {
      status: duplicates === events.length ? 200 : 201,
      headers: { "content-type": "application/json", etag: `"${last}"` },
    },
  );
}
