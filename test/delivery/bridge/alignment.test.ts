// Where publishing goes on: whatever JetStream still has, has forgotten or has lost, no event is left out.
import { describe, expect, test } from "bun:test";
import type { NatsStream, StoredMessage } from "../../../src/delivery/bridge/jetstream.ts";
import { findLast, placeOf } from "../../../src/delivery/bridge/outbound/alignment.ts";
import type { Cursor } from "../../../src/delivery/bridge/outbound/cursor.ts";
import { nextState, type PublishingEvent, type PublishingState } from "../../../src/delivery/bridge/outbound/state.ts";
import { range } from "../../support/bridge.ts";

const created = "2026-01-01T00:00:00.000000001Z";
const mine = { stream: "users", logId: "log-1" };
const never = new AbortController().signal;

const jetstream = (firstSequence: number, lastSequence: number, more: Partial<NatsStream> = {}) =>
  ({ name: "svca_users", created, firstSequence, lastSequence, ...more }) as NatsStream;
const cursorAt = (sequence: number, offset: number, more: Partial<Cursor> = {}): Cursor => ({
  streamId: 1,
  jetstream: "svca_users",
  created,
  sequence,
  offset,
  position: 1_000 + offset,
  logId: mine.logId,
  ...more,
});

/** What stands under a sequence: an offset of ours, a stranger's message, one of another log or stream; nothing is gone. */
type Content = number | "stranger" | "other log" | "other stream" | "no offset" | null;

function store(contents: Record<number, Content>) {
  const asked: number[] = [];
  return {
    asked,
    async message(sequence: number): Promise<StoredMessage | null> {
      asked.push(sequence);
      const content = contents[sequence] ?? null;
      if (content === null) return null;
      const headers = new Map<string, string>();
      if (content !== "stranger") {
        headers.set("ce-stream", content === "other stream" ? "orders" : mine.stream);
        headers.set("ce-logid", content === "other log" ? "log-0" : mine.logId);
        headers.set("ce-offset", content === "no offset" ? "-1" : String(typeof content === "number" ? content : 7));
      }
      return { sequence, subject: "svca.users.A", storedMs: 0, headers };
    },
  };
}

type Case = {
  name: string;
  /** First and last sequence. */
  bounds: [first: number, last: number];
  contents: Record<number, Content>;
  /** Sequence and offset. */
  cursor: Cursor | null;
  found: number | null;
  offset: number;
  anew?: boolean;
  withheld?: number[];
};

const cases: Case[] = [
  {
    name: "nothing is there, nothing was noted",
    bounds: [0, 0],
    contents: {},
    cursor: null,
    found: null,
    offset: -1,
    anew: true,
  },
  {
    name: "the cursor is true",
    bounds: [1, 3],
    contents: { 1: 0, 2: 1, 3: 2 },
    cursor: cursorAt(3, 2),
    found: 2,
    offset: 2,
  },
  {
    name: "a crash before the note",
    bounds: [1, 5],
    contents: { 3: 2, 4: 3, 5: 4 },
    cursor: cursorAt(3, 2),
    found: 4,
    offset: 4,
  },
  { name: "the note is lost", bounds: [1, 2], contents: { 1: 0, 2: 1 }, cursor: null, found: 1, offset: 1 },
  {
    name: "strangers behind the cursor",
    bounds: [1, 5],
    contents: { 3: 2, 4: "stranger", 5: "no offset" },
    cursor: cursorAt(3, 2),
    found: 2,
    offset: 2,
  },
  {
    name: "strangers behind what was not noted",
    bounds: [1, 6],
    contents: { 3: 2, 4: 3, 5: "stranger", 6: "other stream" },
    cursor: cursorAt(3, 2),
    found: 3,
    offset: 3,
  },
  {
    name: "everything is forgotten: that something stood there proves nothing",
    bounds: [9, 8],
    contents: {},
    cursor: cursorAt(3, 2),
    found: null,
    offset: 2,
  },
  {
    name: "one of ours stands below what is gone",
    bounds: [1, 8],
    contents: { 3: 2, 4: 3, 5: 4 },
    cursor: cursorAt(3, 2),
    found: 4,
    offset: 4,
  },
  {
    name: "strangers stand behind what is gone",
    bounds: [7, 8],
    contents: { 7: "stranger", 8: "stranger" },
    cursor: cursorAt(3, 2),
    found: null,
    offset: 2,
  },
  {
    name: "one of ours below the cursor says nothing where the cursor speaks of what came later",
    bounds: [1, 3],
    contents: { 1: 0, 2: 1, 3: "stranger" },
    cursor: cursorAt(3, 7),
    found: null,
    offset: 7,
  },
  {
    name: "restored to an older state: its last message says the truth",
    bounds: [1, 2],
    contents: { 1: 0, 2: 1 },
    cursor: cursorAt(5, 40),
    found: 1,
    offset: 1,
  },
  {
    name: "restored to an older state that ends with strangers",
    bounds: [1, 3],
    contents: { 1: 0, 2: "stranger", 3: "stranger" },
    cursor: cursorAt(5, 4),
    found: 0,
    offset: 0,
  },
  {
    name: "restored to an older state whose messages are gone: as many events as sequences are missing come again",
    bounds: [4, 3],
    contents: {},
    cursor: cursorAt(5, 4),
    found: null,
    offset: 2,
  },
  {
    name: "the same, where some of them are withheld",
    bounds: [4, 3],
    contents: {},
    cursor: cursorAt(5, 6),
    withheld: [5, 6],
    found: null,
    offset: 2,
  },
  {
    name: "the same, back to the beginning",
    bounds: [1, 0],
    contents: {},
    cursor: cursorAt(5, 2),
    found: null,
    offset: -1,
  },
  {
    name: "restored, and strangers have come up to the cursor since",
    bounds: [1, 5],
    contents: { 1: 0, 2: 1, 3: "stranger", 4: "stranger", 5: 2 },
    cursor: cursorAt(5, 4),
    found: 2,
    offset: 2,
  },
  {
    name: "made anew and empty",
    bounds: [0, 0],
    contents: {},
    cursor: cursorAt(3, 2, { created: "2025-01-01T00:00:00Z" }),
    found: null,
    offset: -1,
    anew: true,
  },
  {
    name: "made anew, and published to already",
    bounds: [1, 2],
    contents: { 1: 0, 2: 1 },
    cursor: cursorAt(9, 8, { created: "2025-01-01T00:00:00Z" }),
    found: 1,
    offset: 1,
  },
  {
    name: "another name",
    bounds: [1, 1],
    contents: { 1: "stranger" },
    cursor: cursorAt(9, 8, { jetstream: "before" }),
    found: null,
    offset: -1,
    anew: true,
  },
  {
    name: "another history of the log: only the cursor is sure",
    bounds: [1, 5],
    contents: { 3: "other log", 4: "other log", 5: "other log" },
    cursor: cursorAt(3, 2, { logId: "log-0" }),
    found: null,
    offset: 2,
  },
  {
    name: "another history of the log, which JetStream has less of than was noted",
    bounds: [1, 2],
    contents: { 1: "other log", 2: "other log" },
    cursor: cursorAt(3, 2, { logId: "log-0" }),
    found: null,
    offset: 2,
  },
];

describe("where to go on:", () => {
  for (const { name, bounds, contents, cursor, found, offset, anew = false, withheld = [] } of cases)
    test(name, async () => {
      const stream = jetstream(...bounds);
      const { offset: last, otherLog } = await findLast(stream, cursor, mine, store(contents).message, never);
      expect(last).toBe(found);
      expect(otherLog).toBe(contents[bounds[1]] === "other log" ? "log-0" : null);
      const place = placeOf(stream, cursor, last, mine.logId, new Set(withheld));
      expect(place).toEqual({ offset, sequence: bounds[1], anew });
    });
});

/** What may have become of an event or a message; what is withheld is no message. */
const kinds = ["ours", "ours, gone", "stranger", "stranger, gone", "withheld"] as const;
type Kind = (typeof kinds)[number];
const historiesOf = (length: number): Kind[][] =>
  length === 0 ? [[]] : historiesOf(length - 1).flatMap((history) => kinds.map((kind) => [...history, kind]));

test("of every history of five events and messages none is left out, and only what is gone is repeated", async () => {
  for (const history of historiesOf(5)) {
    const messages = history.filter((kind) => kind !== "withheld").length;
    // The cursor may speak of any moment, and JetStream may have lost its end.
    for (let noted = 0; noted <= history.length; noted++)
      for (let left = 0; left <= messages; left++) {
        const contents: Record<number, Content> = {};
        const withheld = new Set<number>();
        let [offset, sequence] = [-1, 0];
        let cursor = cursorAt(0, -1);
        let kept = -1;
        let firstLost = Number.POSITIVE_INFINITY;
        for (const [n, kind] of history.entries()) {
          if (!kind.startsWith("stranger")) offset++;
          if (kind === "withheld") withheld.add(offset);
          else if (++sequence <= left) contents[sequence] = contentOf(kind, offset);
          else if (kind.startsWith("ours")) firstLost = Math.min(firstLost, offset);
          if (kind === "ours" && sequence <= left) kept = offset;
          if (n + 1 === noted) cursor = cursorAt(sequence, offset);
        }
        const there = range(left, 1).filter((each) => contents[each] !== null);
        const stream = jetstream(there[0] ?? left + 1, left);
        const { offset: last } = await findLast(stream, cursor, mine, store(contents).message, never);
        const place = placeOf(stream, cursor, last, mine.logId, withheld);
        const story = `${history.join(", ")}; noted ${noted}, left ${left}`;
        expect([story, place.offset < firstLost, place.offset >= kept]).toEqual([story, true, true]);
      }
  }
});

const contentOf = (kind: Kind, offset: number): Content =>
  kind === "ours" ? offset : kind === "stranger" ? "stranger" : null;

describe("the search", () => {
  test("tells which other log has written behind what is ours, and of nothing below", async () => {
    const found = async (contents: Record<number, Content>) =>
      findLast(jetstream(1, 4), null, mine, store(contents).message, never);
    const behind = { 1: 0, 2: 1, 3: "other log", 4: "stranger" } as const;
    expect(await found(behind)).toEqual({ offset: 1, otherLog: "log-0" });
    const below = { 1: 0, 2: "other log", 3: 1, 4: "stranger" } as const;
    expect(await found(below)).toEqual({ offset: 1, otherLog: null });
  });

  test("asks for nothing that cannot be there, and not for what lies below the cursor", async () => {
    const { asked, message } = store({ 3: 2, 4: "stranger" });
    await findLast(jetstream(1, 4), cursorAt(3, 2), mine, message, never);
    expect(asked.toSorted()).toEqual([3, 4]);
    const gone = store({});
    await findLast(jetstream(9, 8), cursorAt(3, 2), mine, gone.message, never);
    expect(gone.asked).toEqual([]);
  });

  test("ends after a thousand messages where there is no cursor to end at", async () => {
    const contents = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [n + 1, "stranger" as Content]));
    const { asked, message } = store({ ...contents, 1: 0 });
    expect((await findLast(jetstream(1, 5_000), null, mine, message, never)).offset).toBeNull();
    expect(asked.length).toBe(1_000);
  });

  test("goes through a flood of strangers down to the cursor, many questions at once and not too many", async () => {
    let underWay = 0;
    let most = 0;
    const message = async (sequence: number): Promise<StoredMessage | null> => {
      most = Math.max(most, ++underWay);
      await Promise.resolve();
      underWay--;
      const headers = new Map(
        sequence === 11 ? Object.entries({ "ce-stream": "users", "ce-logid": "log-1", "ce-offset": "5" }) : [],
      );
      return { sequence, subject: "s", storedMs: 0, headers };
    };
    expect((await findLast(jetstream(1, 100_000), cursorAt(10, 4), mine, message, never)).offset).toBe(5);
    expect(most).toBeGreaterThan(8);
    expect(most).toBeLessThanOrEqual(32);
  });

  test("ends with its signal, also while nobody answers", async () => {
    const stop = new AbortController();
    const hanging = findLast(jetstream(1, 100_000), cursorAt(10, 4), mine, () => new Promise(() => {}), stop.signal);
    stop.abort(new Error("publishing ends"));
    await expect(hanging).rejects.toThrow("publishing ends");
    let asked = 0;
    const later = new AbortController();
    const message = async (sequence: number): Promise<StoredMessage> => {
      if (++asked === 100) later.abort(new Error("publishing ends"));
      return { sequence, subject: "s", storedMs: 0, headers: new Map() };
    };
    await expect(findLast(jetstream(1, 100_000), cursorAt(10, 4), mine, message, later.signal)).rejects.toThrow();
    expect(asked).toBeLessThan(200);
  });
});

describe("states", () => {
  const states: PublishingState[] = ["waiting", "aligning", "publishing", "pausing"];
  const table: Record<PublishingEvent, Record<PublishingState, PublishingState>> = {
    connected: { waiting: "aligning", aligning: "aligning", publishing: "publishing", pausing: "pausing" },
    disconnected: { waiting: "waiting", aligning: "waiting", publishing: "waiting", pausing: "waiting" },
    aligned: { waiting: "waiting", aligning: "publishing", publishing: "publishing", pausing: "pausing" },
    confirmed: { waiting: "waiting", aligning: "aligning", publishing: "publishing", pausing: "pausing" },
    misaligned: { waiting: "waiting", aligning: "aligning", publishing: "aligning", pausing: "pausing" },
    stuck: { waiting: "waiting", aligning: "aligning", publishing: "pausing", pausing: "pausing" },
    refused: { waiting: "waiting", aligning: "pausing", publishing: "pausing", pausing: "pausing" },
    silent: { waiting: "waiting", aligning: "pausing", publishing: "pausing", pausing: "pausing" },
    elapsed: { waiting: "waiting", aligning: "aligning", publishing: "publishing", pausing: "aligning" },
  };
  for (const [event, row] of Object.entries(table) as [PublishingEvent, Record<PublishingState, PublishingState>][])
    test(`${event} leads from each state to one`, () => {
      for (const state of states) expect([state, nextState(state, event)]).toEqual([state, row[state]]);
    });
});
