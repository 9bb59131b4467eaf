// One event stream: turns what its follower is told into frames.
import { internalError, invalidFilter, Problem, problemObject } from "../base/errors.ts";
import { classify } from "../storage/pg-errors.ts";
import type { SchemaLinks, StoredEvent } from "../stream/event.ts";
import { isPathError } from "../stream/path-filter.ts";
import type { Cursor } from "../stream/resolve.ts";
import type { Encoder, EndReason, Outlet } from "../subscription/following/follower.ts";
import type { ByteSink } from "./byte-sink.ts";
import { encodeEvents, encodeFrame, type IdKind } from "./sse-frame.ts";

/** How an event stream is written. */
export type SseForm = {
  idKind: IdKind;
  named: boolean;
  /** How many events a bounded replay has; progress frames are sent when it is given. */
  total: number | null;
  /** The predicate that its problems are about. */
  where: string | null;
};

/** How many events pass between two progress frames. */
const progressEvery = 1_000;

/** The encoders of all forms: connections of one form share theirs. */
export function createEncoders(schemas: SchemaLinks): Encoders {
  const encoders = (["offset", "position"] as const).flatMap((idKind) =>
    [false, true].map((named) => ({
      key: encodingKey(idKind, named),
      encode: (events: readonly StoredEvent[]) => encodeEvents(events, idKind, named, schemas),
    })),
  );
  return (idKind, named) => encoders.find(({ key }) => key === encodingKey(idKind, named)) as Encoder;
}

export type Encoders = (idKind: IdKind, named: boolean) => Encoder;

function encodingKey(idKind: IdKind, named: boolean): string {
  return `${idKind}${named ? " named" : ""}`;
}

/** The heartbeat of the event streams with an encoder. */
export function heartbeatFrame(encoder: Encoder, cursor: Cursor): Uint8Array {
  return encodeFrame({ comment: "heartbeat", id: encoder.key.startsWith("offset") ? cursor.offset : cursor.position });
}

/** There are thousands of them, so that each byte counts: methods for closures. */
export class SseConnection implements Outlet {
  readonly encoder: Encoder;
  private readonly sink: ByteSink;
  private readonly idKind: IdKind;
  private readonly where: string | null;
  private readonly total: number | null;
  private sent = 0;

  constructor(sink: ByteSink, { idKind, named, total, where }: SseForm, encoders: Encoders) {
    this.sink = sink;
    this.idKind = idKind;
    this.where = where;
    this.total = total;
    const shared = encoders(idKind, named);
    this.encoder =
      total === null
        ? shared
        : { key: `${shared.key} counted`, encode: (events) => this.encodeCounted(events, shared, total) };
  }

  /** The first frame: where the event stream begins, and after how long to come back when it breaks off. */
  begin(
    start: Cursor,
    gap: { from: number; to: number } | null,
    ready: { stream: string | null; head: string; logId: string },
    retryMs: number,
  ): void {
    const { stream, head, logId } = ready;
    this.sink.write(
      encodeFrame({
        retryMs,
        // Who leaves before it reads of the gap is told of it when it comes back.
        id: gap === null ? this.idOf(start) : gap.from - 1,
        event: "sluice.ready",
        data: { stream, from: String(this.idOf(start) + 1), head, logId },
      }),
    );
    if (gap !== null) this.onGap(gap.from, gap.to);
  }

  write(chunk: Uint8Array): boolean {
    return this.sink.write(chunk);
  }

  drained(signal: AbortSignal): Promise<void> {
    return this.sink.drained(signal);
  }

  onCaughtUp(cursor: Cursor): void {
    const at = this.idOf(cursor);
    this.sink.write(encodeFrame({ id: at, event: "sluice.caught-up", data: { at: String(at) } }));
  }

  onGap(from: number, to: number): void {
    this.sink.write(encodeFrame({ id: to, event: "sluice.gap", data: { from: String(from), to: String(to) } }));
  }

  onEnd(reason: EndReason, cursor: Cursor, error?: unknown): void {
    const { sink, total } = this;
    if (reason === "failed") sink.write(encodeFrame({ event: "sluice.problem", data: describe(error, this.where) }));
    else if (total !== null) sink.write(progressFrame(this.sent, total));
    sink.write(encodeFrame({ id: `end:${this.idOf(cursor)}`, event: "sluice.end", data: { reason } }));
    sink.end();
  }

  /** Ends it for a reason of the service's own; without an `end:` id, because the reader shall come back. */
  close(reason: string): void {
    this.sink.write(encodeFrame({ event: "sluice.end", data: { reason } }));
    this.sink.end();
  }

  private encodeCounted(events: readonly StoredEvent[], shared: Encoder, total: number): Uint8Array {
    const chunk = shared.encode(events);
    const stepsBefore = Math.floor(this.sent / progressEvery);
    this.sent += events.length;
    if (Math.floor(this.sent / progressEvery) === stepsBefore) return chunk;
    return Buffer.concat([chunk, progressFrame(this.sent, total)]);
  }

  private idOf(cursor: Cursor): number {
    return this.idKind === "offset" ? cursor.offset : cursor.position;
  }
}

function progressFrame(sent: number, total: number): Uint8Array {
  return encodeFrame({ event: "sluice.progress", data: { sent: String(sent), total: String(total) } });
}

/** What a follower's reader is told of its failure, as any other problem. */
function describe(error: unknown, where: string | null): Record<string, unknown> {
  const problem =
    error instanceof Problem
      ? error
      : where !== null && isPathError(error)
        ? invalidFilter(where, classify(error).message)
        : internalError(error);
  return problemObject(problem, "about:blank");
}
