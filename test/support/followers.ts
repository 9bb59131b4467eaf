// Followers on a log whose tail the test moves by hand, with readers in memory; pages come from a real database.
import { createLog } from "../../src/base/log.ts";
import { everyone } from "../../src/base/principal.ts";
import { createSemaphore } from "../../src/base/semaphore.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import type { Pool } from "../../src/storage/pool.ts";
import type { StoredEvent } from "../../src/stream/event.ts";
import { readTail } from "../../src/stream/page.ts";
import { asStored } from "../../src/stream/schema/target.ts";
import { readStreamStarts } from "../../src/stream/stream-head.ts";
import { createTail, type Tail } from "../../src/stream/tail.ts";
import { createFollowers, type Follower, type Followers } from "../../src/subscription/following/follow.ts";
import type { FollowRequest } from "../../src/subscription/following/follower.ts";
import { testSchema } from "./postgres.ts";
import { noUpcasting } from "./schemas.ts";
import { until } from "./until.ts";

const log = createLog("silent", "test");

/** What a reader was told, in order. */
export type Told =
  | { events: number[] }
  | { gap: [number, number] }
  | { caughtUp: number }
  | { end: string; at: number; error?: unknown }
  | { heartbeat: number };

export type Reader = {
  follower: Follower;
  told: Told[];
  /** Positions of all events so far. */
  positions: () => number[];
  /** While true, the reader takes nothing: whatever is written fills its buffer. */
  stall: (stalled: boolean) => void;
  /** Called at every write, before it is recorded. */
  onWrite: (() => void) | null;
};

export type Rig = {
  database: Database;
  tail: Tail;
  followers: Followers;
  /** Passes the log on through the tail, up to a position. */
  reveal: (upTo: number) => Promise<void>;
  /** Lets the tail read the log by itself up to a position: what was removed is not there any more. */
  read: (upTo: number) => Promise<void>;
  /** A follower with a reader that may be stalled from the first moment on. */
  follow: (request?: Partial<FollowRequest>, stalled?: boolean) => Reader;
  /** How often the followers have asked the database. */
  asked: () => number;
  /** Called before each question to the database; what it throws or waits for, the follower meets. */
  before: { ask: (() => Promise<void>) | null };
  /** How often events were encoded, and for which group. */
  encoded: string[];
  stop: () => Promise<void>;
};

export const everything = { streams: null, types: null, correlation: null, key: null, where: null };

/** The tail stands at `head`; its ring holds nothing of what was before. */
export async function startRig(databaseUrl: string, head: number, ringBytes = 16_000_000): Promise<Rig> {
  const database = createDatabase({
    connection: databaseUrl,
    schema: testSchema,
    poolSize: 4,
    commandTimeoutMs: 10_000,
    appendsInFlight: 1,
    claimsInFlight: 1,
    log,
  });
  // What was before the tail's start is not in its ring.
  let reading = false;
  const nothing = async (upTo: number) => ({ events: [], reached: upTo });
  const tail = createTail({
    readHead: async () => head,
    readRange: (after, upTo, limit) => (reading ? readTail(database.reads, after, upTo, limit) : nothing(upTo)),
    ringBytes,
    pollMs: 1e8,
    log,
  });
  await tail.start();
  reading = true;
  const before: Rig["before"] = { ask: null };
  let asked = 0;
  const pool: Pool = {
    async run(task, signal) {
      asked++;
      await before.ask?.();
      return database.reads.run(task, signal);
    },
    stop: async () => {},
  };
  const encoded: string[] = [];
  const followers = createFollowers({
    tail,
    pool,
    upcasting: noUpcasting,
    catchUps: createSemaphore(4),
    streamStarts: (names) => database.reads.run((sql) => readStreamStarts(sql, names)),
    log,
  });

  function follow(request: Partial<FollowRequest> = {}, stalled = false): Reader {
    const told: Told[] = [];
    let waiters: (() => void)[] = [];
    const number = (cursor: { position: number; offset: number }) => (request.single ? cursor.offset : cursor.position);
    const reader: Omit<Reader, "follower"> = {
      told,
      positions: () => told.flatMap((entry) => ("events" in entry ? entry.events : [])),
      stall(value) {
        stalled = value;
        if (value) return;
        for (const resolve of waiters) resolve();
        waiters = [];
      },
      onWrite: null,
    };
    const follower = followers.follow({
      selection: everything,
      target: asStored,
      single: false,
      principal: everyone,
      start: { position: -1, offset: -1 },
      historyEnd: -1,
      logHead: -1,
      upTo: null,
      limit: null,
      ...request,
      outlet: {
        encoder: {
          key: request.single ? "offset" : "position",
          encode(events: readonly StoredEvent[]) {
            encoded.push(events.map((event) => event.position).join());
            return new TextEncoder().encode(JSON.stringify({ events: events.map((event) => event.position) }));
          },
        },
        write(chunk) {
          reader.onWrite?.();
          told.push(JSON.parse(new TextDecoder().decode(chunk)) as Told);
          return !stalled;
        },
        drained: (signal) =>
          new Promise((resolve, reject) => {
            if (signal.aborted) return reject(signal.reason);
            if (!stalled) return resolve();
            waiters.push(resolve);
            signal.addEventListener("abort", () => reject(signal.reason), { once: true });
          }),
        onCaughtUp: (cursor) => told.push({ caughtUp: number(cursor) }),
        onGap: (from, to) => told.push({ gap: [from, to] }),
        onEnd: (end, cursor, error) => told.push({ end, at: number(cursor), ...(error ? { error } : {}) }),
      },
    });
    return Object.assign(reader, { follower });
  }

  return {
    database,
    tail,
    followers,
    async reveal(upTo) {
      // A page is bounded by its bytes.
      while (tail.head() < upTo) {
        const { events } = await readTail(database.reads, tail.head(), upTo, 10_000);
        if (events.length === 0) throw new Error(`the log does not reach to ${upTo}`);
        tail.offer(events);
      }
      // The tail passes them on in a turn of the event loop of its own.
      await new Promise<void>((resolve) => setImmediate(resolve));
    },
    async read(upTo) {
      tail.wake(upTo);
      await until("the tail has read the log", () => tail.head() >= upTo);
    },
    follow,
    asked: () => asked,
    before,
    encoded,
    async stop() {
      followers.stop();
      await tail.stop();
      await database.stop();
    },
  };
}

/** Sends a heartbeat to all followers of a rig. */
export function heartbeat({ followers }: Rig): void {
  followers.heartbeat(({ key }, cursor) =>
    new TextEncoder().encode(JSON.stringify({ heartbeat: key.startsWith("offset") ? cursor.offset : cursor.position })),
  );
}
