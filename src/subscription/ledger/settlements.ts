// Settles, extends and takes back what was handed out, by tokens; acknowledgements of many requests travel in one statement.
import { createBatcher } from "../../base/batcher.ts";
import { internalError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { arrayLiteral, nameList, readNumbers } from "../../storage/lists.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import { runAgain } from "../../storage/retry.ts";
import { type Lease, settledToken, type Tokens } from "./token.ts";

/** What became of a token: `settled` now, `already-settled` before, or `stale`: no token (any more) for an event that is open. */
export type Settlement = "settled" | "already-settled" | "stale";
export type Extension = "extended" | "already-settled" | "stale";

export type Return = {
  action: "requeue" | "dead-letter" | "drop";
  /** Null: the subscription's backoff. */
  delayMs: number | null;
  reason: string;
};

/** Tokens of one request, and what they must be: of this subscription, and of this consumer's leases if one is named. */
export type TokenList = { subscription: number; consumer: string | null; tokens: readonly string[] };

export type Settlements = {
  /** Resolves after the commit, one result for each token in the order given. */
  acknowledge: (list: TokenList) => Promise<Settlement[]>;
  giveBack: (list: TokenList, how: Return) => Promise<Settlement[]>;
  /** `deadline` is RFC 3339; null when nothing was extended. */
  extend: (list: TokenList, extensionMs: number) => Promise<{ results: Extension[]; deadline: string | null }>;
  counters: () => { settled: number; returned: number; stale: number; statements: number };
  stop: () => Promise<void>;
};

export type SettlementsOptions = {
  pool: Pool;
  tokens: Tokens;
  /** Whether a subscription has terminal types. */
  mayEnd: (subscription: number) => boolean;
  /** Something of these cursors was settled, which may have been the last that was missing to their ends. */
  review: (cursors: Iterable<number>) => Promise<void>;
  /** Something of these cursors was settled: their consumers have credit again. */
  onSettled: (cursors: Iterable<number>) => void;
  /** Something of this cursor waits for another try. */
  onReturned: (cursor: number) => void;
  log: Log;
};

/** The tokens of one lease: their positions, ascending, and the places of their results. */
type Group = { lease: Lease; consumer: string | null; positions: number[]; places: number[] };

type Sorted = { groups: Group[]; results: number[]; repeated: [number, number][] };

type Pending = {
  groups: Group[];
  count: number;
  resolve: (codes: number[][]) => void;
  reject: (error: unknown) => void;
};

const settled = 0;
const alreadySettled = 1;
const stale = 2;
const maxBatchTokens = 5_000;
const statementsInFlight = 2;

export function createSettlements(options: SettlementsOptions): Settlements {
  const { pool, tokens, onSettled, onReturned, log } = options;
  const counters = { settled: 0, returned: 0, stale: 0, statements: 0 };

  const batcher = createBatcher<Pending>({
    flush,
    weigh: ({ count }) => ({ count, bytes: 0 }),
    maxCount: maxBatchTokens,
    maxBytes: Number.POSITIVE_INFINITY,
    maxInFlight: statementsInFlight,
    onDefect(error, batch) {
      log.error({ err: error }, "settling failed");
      for (const pending of batch) pending.reject(internalError(error));
    },
  });

  async function flush(batch: Pending[]): Promise<void> {
    const groups = batch.flatMap((pending) => pending.groups).sort(byLease);
    let codes: number[][];
    try {
      codes = await again((sql) => callDeliverySettle(sql, groups));
    } catch (error) {
      for (const pending of batch) pending.reject(error);
      return;
    }
    await review(groups);
    onSettled(new Set(groups.map((group) => group.lease.cursor)));
    const codesOf = new Map(groups.map((group, i) => [group, codes[i] as number[]]));
    for (const pending of batch) pending.resolve(pending.groups.map((group) => codesOf.get(group) as number[]));
  }

  /** Before the answer, so that whoever has settled the last event finds its subscription completed. */
  async function review(groups: readonly Group[]): Promise<void> {
    const cursors = new Set<number>();
    for (const { lease } of groups) if (options.mayEnd(lease.subscription)) cursors.add(lease.cursor);
    if (cursors.size > 0) await options.review(cursors);
  }

  const again = <T>(task: (sql: Sql) => Promise<T>): Promise<T> =>
    runAgain(pool, (sql) => {
      counters.statements++;
      return task(sql);
    });

  /** Sorts the tokens by their leases; what is none of ours is stale. */
  function sort({ subscription, consumer, tokens: list }: TokenList): Sorted {
    const byPrefix = new Map<string, Group & { entries: [number, number][] }>();
    const results = new Array<number>(list.length).fill(stale);
    const firsts = new Map<string, number>();
    const repeated: [number, number][] = [];
    for (const [place, token] of list.entries()) {
      if (token === settledToken) {
        results[place] = alreadySettled;
        continue;
      }
      const before = firsts.get(token);
      if (before !== undefined) {
        repeated.push([place, before]);
        continue;
      }
      firsts.set(token, place);
      const read = tokens.read(token);
      if (read === null || read.lease.subscription !== subscription) continue;
      let group = byPrefix.get(read.prefix);
      if (group === undefined) {
        group = { lease: read.lease, consumer, positions: [], places: [], entries: [] };
        byPrefix.set(read.prefix, group);
      }
      group.entries.push([read.position, place]);
    }
    const groups = [...byPrefix.values()].map(({ entries, ...group }) => {
      entries.sort(([a], [b]) => a - b);
      return { ...group, positions: entries.map(([position]) => position), places: entries.map(([, place]) => place) };
    });
    return { groups: groups.sort(byLease), results, repeated };
  }

  /** The results of all tokens, from those of the groups. A token that is given twice is settled once. */
  function collect({ groups, results, repeated }: Sorted, codes: readonly number[][]): number[] {
    for (const [g, group] of groups.entries()) {
      for (const [i, place] of group.places.entries()) results[place] = (codes[g] as number[])[i] as number;
    }
    for (const [place, before] of repeated)
      results[place] = results[before] === settled ? alreadySettled : (results[before] as number);
    for (const result of results) if (result === stale) counters.stale++;
    return results;
  }

  /** Who extends works on it. A statement of its own: members are locked before cursors, which an extension has locked. */
  async function noteAlive(groups: readonly Group[]): Promise<void> {
    if (groups.length === 0) return;
    await again((sql) => callConsumersSeen(sql, groups)).catch((error: unknown) =>
      log.warn({ err: error }, "a sign of life was lost"),
    );
  }

  const names = { [settled]: "settled", [alreadySettled]: "already-settled", [stale]: "stale" } as const;
  const name = (code: number) => names[code as keyof typeof names];

  return {
    async acknowledge(list) {
      const sorted = sort(list);
      if (sorted.groups.length === 0) return collect(sorted, []).map(name);
      const codes = await new Promise<number[][]>((resolve, reject) => {
        batcher.push({ groups: sorted.groups, count: list.tokens.length, resolve, reject });
      });
      const results = collect(sorted, codes);
      for (const result of results) if (result === settled) counters.settled++;
      return results.map(name);
    },
    async giveBack(list, how) {
      const sorted = sort(list);
      const codes: number[][] = [];
      for (const groups of runsOf(sorted.groups)) {
        const { cursor } = (groups[0] as Group).lease;
        codes.push(...(await again((sql) => callDeliveryReturn(sql, cursor, groups, how))));
        await review(groups);
        onReturned(cursor);
      }
      const results = collect(sorted, codes);
      for (const result of results) if (result === settled) counters.returned++;
      return results.map(name);
    },
    async extend(list, extensionMs) {
      const sorted = sort(list);
      if (sorted.groups.length === 0) {
        return {
          results: collect(sorted, []).map((code) => (code === settled ? "extended" : name(code))) as Extension[],
          deadline: null,
        };
      }
      const { codes, deadline } = await again((sql) => callDeliveryExtend(sql, sorted.groups, extensionMs));
      await noteAlive(sorted.groups.filter((_, g) => codes[g]?.includes(settled)));
      const results = collect(sorted, codes);
      // What is given twice is extended, not settled.
      for (const [place, before] of sorted.repeated) results[place] = results[before] as number;
      const named = results.map((code) => (code === settled ? "extended" : name(code))) as Extension[];
      return { results: named, deadline: named.includes("extended") ? deadline : null };
    },
    counters: () => counters,
    stop: () => batcher.idle(),
  };
}

/** In one order for all, so that two statements never wait for each other. */
function byLease({ lease: a }: Group, { lease: b }: Group): number {
  return a.cursor - b.cursor || a.step - b.step || a.part - b.part;
}

/** The groups, cut where the cursor changes. */
function runsOf(groups: readonly Group[]): Group[][] {
  const runs: Group[][] = [];
  for (const group of groups) {
    const run = runs.at(-1);
    if (run !== undefined && run[0]?.lease.cursor === group.lease.cursor) run.push(group);
    else runs.push([group]);
  }
  return runs;
}

/** The lists that name leases and their events, as all functions of the ledger take them. */
function listsOf(groups: readonly Group[]) {
  const firsts: number[] = [];
  const positions: number[] = [];
  for (const group of groups) {
    firsts.push(positions.length + 1);
    for (const position of group.positions) positions.push(position);
  }
  return {
    cursors: arrayLiteral(groups.map((group) => group.lease.cursor)),
    steps: arrayLiteral(groups.map((group) => group.lease.step)),
    parts: arrayLiteral(groups.map((group) => group.lease.part)),
    consumers: nameList(groups.map((group) => group.consumer)),
    firsts: arrayLiteral(firsts),
    counts: arrayLiteral(groups.map((group) => group.positions.length)),
    positions: arrayLiteral(positions),
  };
}

function cut(groups: readonly Group[], results: string): number[][] {
  const codes = readNumbers(results) as number[];
  let at = 0;
  return groups.map(({ positions }) => {
    at += positions.length;
    return codes.slice(at - positions.length, at);
  });
}

async function callDeliverySettle(sql: Sql, groups: readonly Group[]): Promise<number[][]> {
  const l = listsOf(groups);
  const rows = await sql<{ results: string }[]>`
    select delivery_settle(${l.cursors}::bigint[], ${l.steps}::bigint[], ${l.parts}::smallint[], ${l.consumers}::text[],
      ${l.firsts}::int[], ${l.counts}::int[], ${l.positions}::bigint[]) as results`;
  return cut(groups, rows[0]?.results as string);
}

async function callDeliveryReturn(
  sql: Sql,
  cursor: number,
  groups: readonly Group[],
  how: Return,
): Promise<number[][]> {
  const l = listsOf(groups);
  const rows = await sql<{ results: string }[]>`
    select delivery_return(${cursor}, ${l.steps}::bigint[], ${l.parts}::smallint[], ${l.consumers}::text[],
      ${l.firsts}::int[], ${l.counts}::int[], ${l.positions}::bigint[],
      ${how.action}, ${how.delayMs}::bigint, ${how.reason}) as results`;
  return cut(groups, rows[0]?.results as string);
}

async function callDeliveryExtend(
  sql: Sql,
  groups: readonly Group[],
  extensionMs: number,
): Promise<{ codes: number[][]; deadline: string }> {
  const l = listsOf(groups);
  const rows = await sql<{ results: string; deadline: string }[]>`
    select results, deadline from delivery_extend(${l.cursors}::bigint[], ${l.steps}::bigint[], ${l.parts}::smallint[],
      ${l.consumers}::text[], ${l.firsts}::int[], ${l.counts}::int[], ${l.positions}::bigint[], ${extensionMs})`;
  const row = rows[0] as { results: string; deadline: string };
  return { codes: cut(groups, row.results), deadline: row.deadline };
}

async function callConsumersSeen(sql: Sql, groups: readonly Group[]): Promise<void> {
  const { cursors, steps, parts } = listsOf(groups);
  await sql`select consumers_seen(${cursors}::bigint[], ${steps}::bigint[], ${parts}::smallint[])`;
}
