// The readers of a run: who follows and pages through what, from where.
import { type BoundedFollowers, startBounded } from "./bounded-followers.ts";
import { type Follower, startFollower } from "./followers.ts";
import type { History, ReaderDeclared } from "./history.ts";
import { runLookups } from "./lookups.ts";
import { runPager } from "./pagers.ts";
import type { Random } from "./random.ts";

export type Readers = {
  followers: Follower[];
  bounded: BoundedFollowers[];
  /** Pagers end, nobody else comes, and followers keep the connections that they have. */
  calm: () => Promise<void>;
  stop: () => Promise<void>;
};

export type ReadersOptions = {
  history: History;
  random: Random;
  ports: readonly number[];
  /** The first position that is the run's: what was before is nobody's. */
  base: number;
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
  ["doomed", { ...one("doomed-0"), ...beginning }, { dropEveryMs: 1_000 }],
  ["doomed-steady", { ...one("doomed-0"), ...beginning }, {}],
  ["doomed-slow", { ...one("doomed-1"), ...beginning }, { slow: true }],
  ["doomed-latest", one("doomed-1"), { dropEveryMs: 700 }],
  ["doomed-types", { ...one("doomed-0"), ...beginning, types: ["Changed"] }, { dropEveryMs: 800 }],
  ["doomed-types-steady", { ...one("doomed-1"), types: ["Opened"] }, {}],
  ["doomed-where", { ...one("doomed-1"), ...beginning, above: 60 }, { dropEveryMs: 800 }],
  ["doomed-where-steady", { ...one("doomed-0"), above: 60 }, {}],
  ["doomed-several", { ...beginning, streams: ["doomed-0", "doomed-1", "orders"] }, { dropEveryMs: 1_500 }],
];

const bounded: [string, Wish, number | null][] = [
  ["bounded-hot", one("hot-0"), null],
  ["bounded-bulk-types", { ...one("bulk"), types: ["Opened", "Closed"] }, 600],
  ["bounded-orders-where", { ...one("orders"), above: 50 }, 600],
  ["bounded-doomed", one("doomed-0"), 800],
  ["bounded-doomed-where", { ...one("doomed-1"), above: 30 }, null],
  ["bounded-all", {}, 600],
  ["bounded-all-types", { types: ["Changed"] }, null],
];

const paging: [string, ReaderDeclared["form"], Wish][] = [
  ["pages-all", "json", {}],
  ["pages-orders", "json", one("orders")],
  ["pages-hot-types", "json", { ...one("hot-0"), types: ["Opened"] }],
  ["lines-all", "ndjson", {}],
  ["lines-all-where", "ndjson", { above: 50 }],
  ["lines-bulk", "ndjson", one("bulk")],
  ["pages-doomed", "json", one("doomed-0")],
  ["pages-doomed-where", "json", { ...one("doomed-1"), above: 30 }],
  ["lines-doomed", "ndjson", one("doomed-1")],
];

function declare(reader: string, form: ReaderDeclared["form"], wish: Wish, base: number): ReaderDeclared {
  const all = { streams: null, single: false, types: null, above: null, to: null, limit: null } as const;
  const from = form === "sse" ? "latest" : "beginning";
  const declared: ReaderDeclared = { kind: "reader", reader, form, ...all, from, ...wish };
  return declared.from === "beginning" && !declared.single && base > 0 ? { ...declared, from: base } : declared;
}

export function startReaders({ history, random, ports, base, durationMs }: ReadersOptions): Readers {
  const followers: Follower[] = [];
  const follow = (name: string, wish: Wish, habit: Habit) => {
    const reader = declare(name, "sse", wish, base);
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
  const rounds = bounded.map(([name, wish, dropEveryMs]) =>
    startBounded({
      ...{ history, random: random.fork(name), ports, base, dropEveryMs, stop: stop.signal },
      reader: declare(name, "sse", wish, base),
    }),
  );
  const asking = [
    ...paging.map(([name, form, wish]) => {
      const reader = declare(name, form, wish, base);
      return runPager({ history, random: random.fork(name), ports, reader, stop: stop.signal });
    }),
    runLookups({ history, random: random.fork("lookups"), ports, stop: stop.signal }),
  ];
  return {
    followers,
    bounded: rounds,
    async calm() {
      stop.abort();
      for (const timer of late) clearTimeout(timer);
      for (const follower of [...followers, ...rounds]) follower.calm();
      await Promise.all(asking);
    },
    async stop() {
      stop.abort();
      for (const timer of late) clearTimeout(timer);
      await Promise.all([...asking, ...[...followers, ...rounds].map((follower) => follower.stop())]);
    },
  };
}
