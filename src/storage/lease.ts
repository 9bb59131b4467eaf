// Leases: work that one process does for all is held by a row, which is renewed, and whose epoch fences off earlier holders.
import { randomUUID } from "node:crypto";
import type postgres from "postgres";
import type { Log } from "../base/log.ts";
import { type Loop, startLoop } from "../base/loop.ts";
import { nameList } from "./lists.ts";
import { classify } from "./pg-errors.ts";
import type { Pool, Sql } from "./pool.ts";

/** A lease that is held; every write that it protects is made behind `checkLease`. */
export type HeldLease = { name: string; owner: string; epoch: number };

export type LeaseHolder = {
  /** It is held: the signal fires when it is not any more, or may not be. */
  onGained: (lease: HeldLease, signal: AbortSignal) => void;
};

export type Leases = {
  /** Under which this process holds leases. */
  owner: string;
  /** Tries to hold the lease from now on; names have neither quotes nor backslashes. Returns the way to give it up. */
  want: (name: string, holder: LeaseHolder) => () => Promise<void>;
  start: () => void;
  /** Gives all leases up. */
  stop: () => Promise<void>;
};

export type LeasesOptions = {
  pool: Pool;
  /** How long a lease lasts without being renewed, in milliseconds. */
  ttlMs: number;
  log: Log;
};

type Wanted = { holder: LeaseHolder; held: { epoch: number; abort: AbortController } | null };

export function createLeases({ pool, ttlMs, log }: LeasesOptions): Leases {
  const owner = randomUUID();
  const wanted = new Map<string, Wanted>();
  /** The leases hold at least until then, by this process's clock. */
  let heldUntilMs = 0;
  let loop: Loop | null = null;
  let expiry: ReturnType<typeof setTimeout> | null = null;
  let stopped = false;

  function lose(name: string, entry: Wanted): void {
    if (entry.held === null) return;
    log.warn({ lease: name, epoch: entry.held.epoch }, "lease lost");
    entry.held.abort.abort(new Error(`the lease ${name} was lost`));
    entry.held = null;
  }

  async function renew(): Promise<void> {
    const names = [...wanted.keys()];
    if (names.length === 0 || stopped) return;
    // Counted from before the statement: the row lasts longer than this process believes, never less.
    const askedMs = performance.now();
    const rows = await pool.run(
      (sql) => sql<{ held: string; held_epoch: string }[]>`
        select held, held_epoch from lease_hold(${owner}, ${nameList(names)}::text[], ${`${ttlMs} ms`}::text::interval)`,
    );
    const epochs = new Map(rows.map((row) => [row.held, Number(row.held_epoch)]));
    heldUntilMs = askedMs + ttlMs;
    // Given up while it was asked for: nobody here would let go of it.
    const orphans = [...epochs.keys()].filter((name) => !wanted.has(name));
    if (orphans.length > 0) await release(orphans);
    if (expiry !== null) clearTimeout(expiry);
    expiry = setTimeout(expire, Math.max(0, heldUntilMs - performance.now()));
    for (const name of names) {
      const entry = wanted.get(name);
      if (entry === undefined) continue;
      const epoch = epochs.get(name);
      if (entry.held !== null && entry.held.epoch !== epoch) lose(name, entry);
      if (epoch === undefined || entry.held !== null || stopped) continue;
      const abort = new AbortController();
      entry.held = { epoch, abort };
      log.debug({ lease: name, epoch }, "lease gained");
      entry.holder.onGained({ name, owner, epoch }, abort.signal);
    }
  }

  /** Nothing was heard from the database for so long that others may hold them by now. */
  function expire(): void {
    for (const [name, entry] of wanted) lose(name, entry);
  }

  const release = (names: readonly string[]) =>
    pool
      .run((sql) => sql`select lease_release(${owner}, ${nameList(names)}::text[])`)
      .then(
        () => {},
        // It runs out by itself.
        (error: unknown) => log.debug({ err: error }, "leases could not be given up"),
      );

  return {
    owner,
    want(name, holder) {
      const entry: Wanted = { holder, held: null };
      wanted.set(name, entry);
      loop?.wake();
      return async () => {
        if (wanted.get(name) !== entry) return;
        wanted.delete(name);
        const { held } = entry;
        entry.held = null;
        held?.abort.abort(new Error(`the lease ${name} was given up`));
        if (held !== null) await release([name]);
      };
    },
    start() {
      loop = startLoop("leases", Math.floor(ttlMs / 3), renew, log);
    },
    async stop() {
      stopped = true;
      await loop?.stop();
      if (expiry !== null) clearTimeout(expiry);
      const names = [...wanted].filter(([, { held }]) => held !== null).map(([name]) => name);
      for (const { held } of wanted.values()) held?.abort.abort(new Error("the service stops"));
      wanted.clear();
      if (names.length > 0) await release(names);
    },
  };
}

/** Within a transaction: fails unless the lease is held in this epoch, and keeps it so until the end. */
export async function checkLease(sql: Sql | postgres.TransactionSql, { name, owner, epoch }: HeldLease): Promise<void> {
  await sql`select lease_check(${name}, ${owner}, ${epoch})`;
}

/** Whether a statement failed because the lease is somebody else's by now. */
export function isLeaseLost(error: unknown): boolean {
  return classify(error).code === "SL010";
}
