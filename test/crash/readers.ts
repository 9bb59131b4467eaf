// The readers of a run: who follows and pages through what, from where.
import { type Follower, startFollower } from "./followers.ts";
import type { History, ReaderDeclared } from "./history.ts";
import { runPager } from "./pagers.ts";
import type { Random } from "./random.ts";

export type Readers = {
  followers: Follower[];
  /** Pagers end, nobody else comes, and followers keep the connections that they have. */
  calm: () => Promise<void>;
  stop: () => Promise<void>;
};

export type ReadersOptions = {
  history: History;
  random: Random;
  ports: readonly number[];
  /** When the last of those that come later comes. */
  durationMs: number;
};

type Wish = Partial<Pick<ReaderDeclared, "streams" | "single" | "types" | "above" | "from">>;
type Habit = { dropEveryMs?: number; slow?: boolean };

const one = (stream: string): Wish => ({ streams: [stream], single: true });
const beginning: Wish = { from: "beginning" };

const following: [string, Wish, Habit][] = [
  ["all-from-beginning", beginning, { dropEveryMs: 3_000 }],
  ["all-from-latest", {}, { dropEveryMs: 1_000 }],
  ["all-steady", {}, {}],
  ["all-slow", beginning, { slow: true }],
  ["all-types", { ...beginning, types: ["Opened", "Closed"] }, { dropEveryMs: 2_000 }],
  ["all-where", { above: 90 }, { dropEveryMs: 2_000 }],
  ["all-where-steady", { ...beginning, above: 90 }, {}],
  ["all-where-types", { ...beginning, types: ["Opened"], above: 50 }, { dropEveryMs: 1_500 }],
  ["hot", { ...one("hot-0"), ...beginning }, { dropEveryMs: 1_000 }],
  ["hot-latest", one("hot-1"), { dropEveryMs: 2_000 }],
  ["orders-where", { ...one("orders"), above: 70 }, { dropEveryMs: 2_000 }],
  ["orders-where-slow", { ...one("orders"), ...beginning, above: 10 }, { slow: true }],
  ["stock-types", { ...one("stock"), ...beginning, types: ["Changed"] }, { dropEveryMs: 700 }],
  ["bulk-slow", { ...one("bulk"), ...beginning }, { slow: true }],
  ["several", { ...beginning, streams: ["hot-0", "orders", "new-1"] }, { dropEveryMs: 2_000 }],
  ["not-yet-there", { ...one("new-2"), ...beginning }, { dropEveryMs: 500 }],
  ["not-yet-there-latest", one("new-3"), {}],
];

const paging: [string, ReaderDeclared["form"], Wish][] = [
  ["pages-all", "json", {}],
  ["pages-orders", "json", one("orders")],
  ["pages-hot-types", "json", { ...one("hot-0"), types: ["Opened"] }],
  ["lines-all", "ndjson", {}],
  ["lines-all-where", "ndjson", { above: 50 }],
  ["lines-bulk", "ndjson", one("bulk")],
];

function declare(reader: string, form: ReaderDeclared["form"], wish: Wish): ReaderDeclared {
  const from = form === "sse" ? "latest" : "beginning";
  return { kind: "reader", reader, form, streams: null, single: false, types: null, above: null, from, ...wish };
}

export function startReaders({ history, random, ports, durationMs }: ReadersOptions): Readers {
  const followers: Follower[] = [];
  const follow = (name: string, wish: Wish, habit: Habit) => {
    const reader = declare(name, "sse", wish);
    const { dropEveryMs = null, slow = false } = habit;
    followers.push(startFollower({ history, random: random.fork(name), ports, reader, dropEveryMs, slow }));
  };
  for (const [name, wish, habit] of following) follow(name, wish, habit);
  // Some come in the midst of it, to where the log then ends.
  const late = [0.2, 0.4, 0.6, 0.8].map((part, i) =>
    setTimeout(() => {
      const [name, wish] = random.fork(`late ${i}`).pick(following);
      follow(`late-${i}-${name}`, wish, { dropEveryMs: 2_000 });
    }, durationMs * part),
  );
  const stop = new AbortController();
  const pagers = paging.map(([name, form, wish]) =>
    runPager({ history, random: random.fork(name), ports, reader: declare(name, form, wish), stop: stop.signal }),
  );
  return {
    followers,
    async calm() {
      stop.abort();
      for (const timer of late) clearTimeout(timer);
      for (const follower of followers) follower.calm();
      await Promise.all(pagers);
    },
    async stop() {
      stop.abort();
      for (const timer of late) clearTimeout(timer);
      await Promise.all([...pagers, ...followers.map((follower) => follower.stop())]);
    },
  };
}
