// Small histories and logs written by hand, so that each check can be shown a violation.
import type {
  AppendAnswered,
  AppendInvoked,
  Connected,
  DeletionAnswered,
  Entry,
  Frame,
  PageRead,
  ReaderDeclared,
} from "../crash/history.ts";
import type { LoggedEvent, LogSnapshot } from "../crash/log-snapshot.ts";

let op = 0;

type Given = Partial<Omit<AppendInvoked, "kind" | "at"> & Omit<AppendAnswered, "kind" | "at">> & {
  from?: number;
  to?: number;
};

/** An append with its answer, from and to a moment; by default one event of stream `s` that was acknowledged at offset 0. */
export function append(mark: string, given: Given = {}): Entry[] {
  const { from = 0, to = 1, group = mark, stream = "s", expected = null, key = null, marks = [mark] } = given;
  const { ids = marks.map(() => null), outcome = "acknowledged", status = outcome === "refused" ? 412 : 201 } = given;
  const { stored = [{ id: `id-${mark}`, offset: 0, duplicate: false }], lastPosition = 0, actual = null } = given;
  const { reason = null, body = null } = given;
  const invoked: AppendInvoked = { kind: "invoked", op: op++, at: from, group, stream, expected, key, ids, marks };
  const done = outcome === "acknowledged";
  return [
    invoked,
    {
      ...{ kind: "answered", op: invoked.op, at: to, outcome, status, reason, actual, body },
      stored: done ? stored : [],
      lastPosition: done ? lastPosition : null,
    },
  ];
}

/** An acknowledged append of one event at an offset of stream `s`, which is also its position. */
export function acknowledged(mark: string, offset: number, given: Given = {}): Entry[] {
  return append(mark, { stored: [{ id: `id-${mark}`, offset, duplicate: false }], lastPosition: offset, ...given });
}

/** A request to delete stream `s` with its answer, from and to a moment. */
export function deletion(
  given: Partial<DeletionAnswered> & { from?: number; to?: number; stream?: string } = {},
): Entry[] {
  const { from = 0, to = 1, stream = "s", outcome = "acknowledged", reason = null } = given;
  const { status = { acknowledged: 204, refused: 404, unknown: null }[outcome] } = given;
  const deleting = { kind: "deleting", op: op++, at: from, stream } as const;
  return [deleting, { kind: "deleted", op: deleting.op, at: to, outcome, status, reason }];
}

/** A log of one stream `s`, one event a mark. */
export function logOf(...marks: string[]): LoggedEvent[] {
  return marks.map((mark, i) => logged(mark, i));
}

export function logged(mark: string, position: number, given: Partial<LoggedEvent> = {}): LoggedEvent {
  return {
    ...{ position, stream: "s", offset: position, id: `id-${mark}`, type: "Opened", mark, n: 0, hash: `hash-${mark}` },
    recordedTime: `2026-01-01T00:00:00.${String(position).padStart(3, "0")}Z`,
    ...given,
  };
}

export function reader(form: ReaderDeclared["form"], given: Partial<ReaderDeclared> = {}): ReaderDeclared {
  const all = { streams: null, single: false, types: null, above: null, to: null, limit: null } as const;
  return { kind: "reader", reader: "r", form, ...all, from: "beginning", ...given };
}

export function connected(lastEventId: string | null = null, given: Partial<Connected> = {}): Connected {
  return { kind: "connected", reader: "r", at: 0, invokedAt: 0, lastEventId, status: 200, ...given };
}

/** A `sluice.gap`; its id is the last offset that is missing, unless another one is given. */
export function gap(from: number, to: number, given: Partial<Frame> = {}): Frame {
  return { ...own("sluice.gap", String(to)), data: JSON.stringify({ from: String(from), to: String(to) }), ...given };
}

/** The end that a bounded follower is told. */
export function ended(reason: string, at: number): Frame {
  return { ...own("sluice.end", `end:${at}`), data: JSON.stringify({ reason }) };
}

/** A frame of the service's own: `sluice.ready` and the like, or (without a name) a heartbeat. */
export function own(name: string | null, id: string | null): Frame {
  return { kind: "frame", reader: "r", at: 0, id, name, data: name === null ? null : "{}", event: null };
}

export function shown(event: LoggedEvent, given: Partial<Frame> = {}): Frame {
  return { kind: "frame", reader: "r", at: 0, id: String(event.position), name: null, data: null, event, ...given };
}

export function page(events: LoggedEvent[], given: Partial<PageRead> = {}): PageRead {
  return { kind: "page", reader: "r", walk: 0, invokedAt: 0, at: 0, events, last: false, ...given };
}

/** A log at its end; by default nothing is deleted, and the replays show all of it. */
export function snapshot(stored: LoggedEvent[], given: Partial<LogSnapshot> = {}): LogSnapshot {
  const rows = stored.map(({ position, stream, offset }) => ({ position, stream, offset, purged: false }));
  const streams = new Map(Map.groupBy(stored, (event) => event.stream));
  return { rows, stored, deletions: [], events: stored, streams, checkpoint: 0, ...given };
}
