// GET /api/streams/{name}/events and GET /api/events: reads, replays and follows, by what the client accepts.
import { invalidParameter, overloaded, shuttingDown } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Semaphore } from "../base/semaphore.ts";
import type { IdKind } from "../delivery/sse-frame.ts";
import type { SseHub } from "../delivery/sse-hub.ts";
import { envelope } from "../stream/event.ts";
import { type FollowStart, resolveFollow } from "../stream/follow-start.ts";
import { parseCursor } from "../stream/place.ts";
import { type LogReader, type Range, type ReadQuery, resolveRange } from "../stream/range.ts";
import { countRange, cursorNumber, readEvent, readRangePage } from "../stream/read.ts";
import { replayLines } from "../stream/replay.ts";
import type { Registry } from "../stream/schema/registry.ts";
import type { Upcasting } from "../stream/schema/upcasting.ts";
import type { Selection } from "../stream/selection.ts";
import { negotiate } from "./accept.ts";
import type { Exchange, Handler } from "./context.ts";
import { isCorrelationId } from "./correlation-id.ts";
import { comeBack, eventStream, eventStreamHeaders } from "./event-stream.ts";
import {
  readAfter,
  readBoolean,
  readDirection,
  readNumber,
  readPlace,
  readQuery,
  readSelection,
  readStreamName,
  readTarget,
} from "./parameters.ts";
import { toProblem } from "./problem.ts";

export type EventsDependencies = {
  reader: LogReader;
  registry: Registry;
  upcasting: Pick<Upcasting, "show">;
  hub: SseHub;
  /** Bounds the pages that replays read at once. */
  replays: Semaphore;
  log: Log;
  isDraining: () => boolean;
  /** Whether this process has as many event streams as it serves. */
  isFull: () => boolean;
};

const forms = [
  "application/json",
  "application/cloudevents-batch+json",
  "application/x-ndjson",
  "text/event-stream",
] as const;
const parameters = ["from", "to", "after", "limit", "direction", "types", "correlation", "key", "where", "schema"];
const followParameters = [...parameters, "lastEventId", "named", "progress"];

const defaultLimit = 100;
const maxLimit = 1_000;
/** Time that one page may take to find events that match, in milliseconds. */
const pageBudgetMs = 2_000;

/** What the path names: a stream, a workflow, or nothing, for which several streams are read. */
type Scope = { stream: string | null; workflow: string | null };

function readScope(of: keyof Scope | "log", { params }: Exchange): Scope {
  if (of === "stream") return { stream: readStreamName(params.name ?? ""), workflow: null };
  const workflow = of === "workflow" ? (params.workflow ?? "") : null;
  if (workflow !== null && !isCorrelationId(workflow))
    throw invalidParameter(
      "workflow",
      "the id of a workflow has 1 to 256 characters, none of them a control character",
    );
  return { stream: null, workflow };
}

const parametersOf = ({ stream, workflow }: Scope, all: readonly string[]) =>
  workflow !== null ? all.filter((name) => name !== "correlation") : stream === null ? ["stream", ...all] : all;

function selectionOf(query: URLSearchParams, { stream, workflow }: Scope): Selection {
  const selection = readSelection(query, stream);
  return workflow === null ? selection : { ...selection, correlation: workflow };
}

export function eventsHandler(dependencies: EventsDependencies, of: keyof Scope | "log"): Handler {
  const single = of === "stream";
  return async (exchange) => {
    const scope = readScope(of, exchange);
    const form = negotiate(exchange.request.headers.get("accept"), forms);
    if (form === "text/event-stream") return follow(dependencies, exchange, scope);
    const query = readQuery(exchange.request, parametersOf(scope, parameters));
    const readQueryOf: ReadQuery = {
      selection: selectionOf(query, scope),
      single,
      from: readPlace(query, "from"),
      after: readAfter(query),
      to: readPlace(query, "to"),
      direction: readDirection(query),
      principal: exchange.principal,
    };
    if (readQueryOf.from !== null && readQueryOf.after !== null)
      throw invalidParameter("after", "after and from exclude each other");
    const target = await readTarget(query, dependencies.registry);
    if (form === "application/x-ndjson") {
      const limit = readNumber(query, "limit", null, Number.MAX_SAFE_INTEGER);
      const range = await resolveRange(dependencies.reader, readQueryOf);
      const { reader, registry: schemas, upcasting, replays, log } = dependencies;
      const body = replayLines({ reader, upcasting, schemas }, range, target, limit, replays, log);
      return new Response(body, {
        headers: { "content-type": "application/x-ndjson", "cache-control": "no-store", "x-accel-buffering": "no" },
      });
    }
    const limit = readNumber(query, "limit", defaultLimit, maxLimit);
    const { registry, upcasting } = dependencies;
    const range = await resolveRange(dependencies.reader, readQueryOf);
    const { signal } = exchange.request;
    const page = await readRangePage(dependencies.reader, range, range.start.position, limit, pageBudgetMs, { signal });
    const next = page.done ? null : await nextLink(dependencies.reader, exchange.request, query, range, page);
    const shown = await upcasting.show(page.events, target);
    const events = shown.map((event) => envelope(event, registry)).join(",");
    const link: Record<string, string> = next === null ? {} : { link: `<${next}>; rel="next"` };
    if (form === "application/cloudevents-batch+json") {
      return new Response(`[${events}]`, { headers: { "content-type": form, ...link } });
    }
    return new Response(`{"events":[${events}],"next":${JSON.stringify(next)},"head":"${range.head}"}`, {
      headers: { "content-type": form, ...link },
    });
  };
}

/** The same request, going on where the page ended. */
async function nextLink(
  reader: LogReader,
  request: Request,
  query: URLSearchParams,
  range: Range,
  page: Parameters<typeof cursorNumber>[2],
): Promise<string> {
  const following = new URLSearchParams(query);
  following.delete("from");
  following.set("after", String(await cursorNumber(reader, range, page)));
  return `${new URL(request.url).pathname}?${following}`;
}

async function follow(dependencies: EventsDependencies, exchange: Exchange, scope: Scope): Promise<Response> {
  const { request, principal } = exchange;
  const query = readQuery(request, parametersOf(scope, followParameters));
  const cursor = request.headers.get("last-event-id") ?? query.get("lastEventId");
  // The reader was told that its stream is over: 204 is the one answer after which EventSource stops without an error.
  if (cursor?.startsWith("end:")) return new Response(null, { status: 204 });
  if (readDirection(query) === "backward") throw invalidParameter("direction", "an event stream goes forward");
  if (dependencies.isDraining()) return comeBack(shuttingDown(), exchange);
  if (dependencies.isFull())
    return comeBack(overloaded("There are as many event streams as this process serves"), exchange);
  const { stream } = scope;
  const single = stream !== null;
  const idKind: IdKind = single ? "offset" : "position";
  const seen = cursor === null || cursor === "" ? null : parseCursor(cursor);
  const followQuery = {
    selection: selectionOf(query, scope),
    single,
    from: readPlace(query, "from"),
    after: readAfter(query),
    to: readPlace(query, "to"),
    principal,
  };
  const limit = readNumber(query, "limit", null, Number.MAX_SAFE_INTEGER);
  const named = readBoolean(query, "named");
  const progress = readBoolean(query, "progress");
  if (followQuery.from !== null && followQuery.after !== null)
    throw invalidParameter("after", "after and from exclude each other");
  const target = await readTarget(query, dependencies.registry);
  let start: FollowStart;
  let total: number | null = null;
  try {
    start = await resolveFollow(dependencies.reader, { ...followQuery, after: seen ?? followQuery.after });
    if (progress && (start.upTo !== null || limit !== null))
      total = await countRange(dependencies.reader, followQuery, start, limit);
  } catch (error) {
    // A browser gives up for good on any status but 200, and a database that is away comes back.
    const problem = toProblem(error, true);
    if (problem.status !== 503) throw error;
    dependencies.log.warn(
      { err: problem.cause ?? problem, requestId: exchange.requestId() },
      "an event stream cannot start",
    );
    return comeBack(problem, exchange);
  }
  // A cursor that is no number of ours, or lies beyond the head, is of another history: the reader has to choose anew.
  if (start.reset || (cursor !== null && cursor !== "" && seen === null)) {
    const detail = {
      requested: cursor ?? query.get("after") ?? query.get("from") ?? "",
      head: String(start.head),
      logId: start.logId,
    };
    return eventStream([
      { event: "sluice.reset", data: detail },
      { id: `end:${start.head}`, event: "sluice.end", data: { reason: "reset" } },
    ]);
  }
  const body = dependencies.hub.open({
    selection: followQuery.selection,
    target,
    idKind,
    named,
    principal,
    start: start.start,
    historyEnd: start.historyEnd,
    logHead: start.logHead,
    upTo: start.upTo,
    limit,
    total,
    gap: start.gap,
    ready: { stream, head: String(start.head), logId: start.logId },
    signal: request.signal,
  });
  return new Response(body, { headers: eventStreamHeaders });
}

export function eventHandler({ reader, registry, upcasting }: EventsDependencies): Handler {
  return async ({ request, params, principal }) => {
    const stream = readStreamName(params.name ?? "");
    const query = readQuery(request, ["schema"]);
    const text = params.offset ?? "";
    if (!/^\d{1,19}$/.test(text)) throw invalidParameter("offset", "an offset is a whole number, the first is 0");
    const type = negotiate(request.headers.get("accept"), ["application/json", "application/cloudevents+json"]);
    const target = await readTarget(query, registry);
    const event = await readEvent(reader, principal, stream, Math.min(Number(text), Number.MAX_SAFE_INTEGER), text);
    const [shown = event] = await upcasting.show([event], target);
    return new Response(envelope(shown, registry), { headers: { "content-type": type } });
  };
}
