// Named locks with a time to live and a fencing token; who waits for one in this process gets it in the order of asking.
import { shuttingDown } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import { isOutage } from "../../storage/pg-errors.ts";
import type { Pool, Sql } from "../../storage/pool.ts";

/**
 * What a key may be: any id of an event, with room for a prefix. As in those no control characters, and no lone surrogates,
 * which the database would not tell apart; `.` and `..` no URL can carry.
 */
export const lockKey =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  /^(?!\.{1,2}$)(?:[^\u0000-\u001f\u007f-\u009f\ud800-\udfff]|[\ud800-\udbff][\udc00-\udfff]){1,512}$/;

/** A lock that is held; the fencing token rises with every holder of the key. */
export type HeldLock = { key: string; token: string; owner: string | null; acquiredAt: string; expiresAt: string };

export type LockAttempt =
  | { acquired: true; token: string; expiresAt: string }
  /** `leftMs`: until it runs out, if its holder does nothing. */
  | { acquired: false; owner: string | null; expiresAt: string; leftMs: number };

export type LockRequest = {
  /** Each principal has names of its own. */
  principal: string;
  key: string;
  owner: string | null;
  ttlMs: number;
  /** How long to wait while somebody else holds it. */
  waitMs: number;
  signal: AbortSignal;
};

export type Locks = {
  acquire: (request: LockRequest) => Promise<LockAttempt>;
  /** A new time to live from now on. Null when the token does not hold the lock (any more). */
  renew: (principal: string, key: string, token: string, ttlMs: number) => Promise<string | null>;
  /** False when the token does not hold the lock; true also of one that has released it before. */
  release: (principal: string, key: string, token: string) => Promise<boolean>;
  /** Null when nobody holds it. */
  find: (principal: string, key: string) => Promise<HeldLock | null>;
  /** Those who wait in this process. */
  waiting: () => number;
  counters: () => LockCounters;
  /** Ends all waiting: the service drains. */
  drain: () => void;
  stop: () => Promise<void>;
};

export type LockCounters = { acquired: number; refused: number };

type Waiter = LockRequest & {
  /** On the clock of `performance`. */
  deadline: number;
  resolve: (attempt: LockAttempt) => void;
  reject: (error: unknown) => void;
};

/** Those who want one key, in the order in which they came; the first tries for all. */
type Line = { waiters: Waiter[]; running: boolean; again: boolean; timer: ReturnType<typeof setTimeout> | null };

/** A release in another process is noticed within this time, in milliseconds. */
const pollMs = 200;
const removeEveryMs = 60_000;
const removeBatch = 2_000;
/** How long an expired row stays: a repeated release still finds its token, in minutes. */
const keptMinutes = 60;

export function createLocks({ pool, log }: { pool: Pool; log: Log }): Locks {
  const lines = new Map<string, Line>();
  const counters: LockCounters = { acquired: 0, refused: 0 };
  let draining = false;
  // No key has a line break.
  const lineKey = (principal: string, key: string) => `${key}\n${principal}`;
  const loop: Loop = startLoop("expired locks", removeEveryMs, removeExpired, log);

  async function removeExpired(signal: AbortSignal): Promise<void> {
    for (let gone = removeBatch; gone === removeBatch && !signal.aborted; )
      gone = await pool.run((sql) => removeExpiredLocks(sql, keptMinutes, removeBatch));
  }

  function wake(name: string): void {
    const line = lines.get(name);
    if (line === undefined) return;
    if (line.timer !== null) clearTimeout(line.timer);
    line.timer = null;
    line.again = true;
    if (!line.running) {
      line.running = true;
      void serve(name, line);
    }
  }

  async function serve(name: string, line: Line): Promise<void> {
    while (line.again && line.waiters.length > 0) {
      line.again = false;
      const waitMs = await attempt(line).catch((error: unknown) => failed(line, error));
      if (waitMs === 0) line.again = true;
      else if (line.waiters.length > 0 && !line.again) line.timer = setTimeout(() => wake(name), waitMs);
    }
    line.running = false;
    if (line.waiters.length === 0) lines.delete(name);
  }

  /** One attempt of the first in line; returns how long to wait before the next one, in milliseconds. */
  async function attempt(line: Line): Promise<number> {
    const first = line.waiters[0] as Waiter;
    const outcome = await pool.run((sql) => callLockAcquire(sql, first));
    if (outcome.acquired) {
      if (line.waiters[0] === first) {
        line.waiters.shift();
        counters.acquired++;
        first.resolve(outcome);
      } else await release(first.principal, first.key, outcome.token); // It has given up meanwhile.
      return 0;
    }
    const now = performance.now();
    let nextMs = Math.min(outcome.leftMs + 1, pollMs);
    for (const waiter of [...line.waiters]) {
      if (draining || waiter.deadline <= now) {
        remove(line, waiter);
        counters.refused++;
        waiter.resolve(outcome);
      } else nextMs = Math.min(nextMs, waiter.deadline - now);
    }
    return Math.max(1, Math.ceil(nextMs));
  }

  /** Whoever has time left waits for the database to come back. */
  function failed(line: Line, error: unknown): number {
    log.debug({ err: error }, "a lock could not be taken");
    const patient = isOutage(error) && !draining;
    for (const waiter of [...line.waiters]) {
      if (patient && waiter.deadline > performance.now()) continue;
      remove(line, waiter);
      waiter.reject(error);
    }
    return pollMs;
  }

  function remove(line: Line, waiter: Waiter): void {
    line.waiters = line.waiters.filter((other) => other !== waiter);
  }

  async function release(principal: string, key: string, token: string): Promise<boolean> {
    const released = await pool.run((sql) => releaseLock(sql, principal, key, token));
    if (released) wake(lineKey(principal, key));
    return released;
  }

  return {
    acquire(request) {
      if (draining) return Promise.reject(shuttingDown());
      const { principal, key, waitMs, signal } = request;
      const name = lineKey(principal, key);
      return new Promise((resolve, reject) => {
        const line = lines.get(name) ?? { waiters: [], running: false, again: false, timer: null };
        lines.set(name, line);
        const leave = () => {
          remove(line, waiter);
          reject(signal.reason);
        };
        const settle = () => signal.removeEventListener("abort", leave);
        const waiter: Waiter = {
          ...request,
          deadline: performance.now() + waitMs,
          resolve(outcome) {
            settle();
            resolve(outcome);
          },
          reject(error) {
            settle();
            reject(error);
          },
        };
        line.waiters.push(waiter);
        signal.addEventListener("abort", leave, { once: true });
        // Behind others it need not ask by itself, unless it cannot wait for their next attempt.
        if (line.waiters.length === 1 || waitMs === 0) wake(name);
      });
    },
    async renew(principal, key, token, ttlMs) {
      const rows = await pool.run(
        (sql) => sql<{ expires_at: string }[]>`
          update locks k set expires_at = clock_timestamp() + ${ttlMs} * interval '1 millisecond'
          where k.principal = ${principal} and k.key = ${key} and k.token = ${token} and k.expires_at > clock_timestamp()
          returning k.expires_at`,
      );
      return rows[0]?.expires_at ?? null;
    },
    release,
    async find(principal, key) {
      const rows = await pool.run(
        (sql) => sql<{ token: string; owner: string | null; acquired_at: string; expires_at: string }[]>`
          select k.token, k.owner, k.acquired_at, k.expires_at from locks k
          where k.principal = ${principal} and k.key = ${key} and k.expires_at > clock_timestamp()`,
      );
      const [row] = rows;
      if (row === undefined) return null;
      return { key, token: row.token, owner: row.owner, acquiredAt: row.acquired_at, expiresAt: row.expires_at };
    },
    waiting: () => [...lines.values()].reduce((sum, line) => sum + line.waiters.length, 0),
    counters: () => counters,
    drain() {
      draining = true;
      for (const name of [...lines.keys()]) wake(name);
    },
    async stop() {
      draining = true;
      await loop.stop();
      for (const line of lines.values()) {
        if (line.timer !== null) clearTimeout(line.timer);
        for (const waiter of line.waiters.splice(0)) waiter.reject(shuttingDown());
      }
    },
  };
}

async function callLockAcquire(sql: Sql, { principal, key, owner, ttlMs }: LockRequest): Promise<LockAttempt> {
  const rows = await sql<
    { acquired: boolean; token: string; owner: string | null; expires_at: string; left_ms: string }[]
  >`
    select acquired, token, owner, expires_at, left_ms from lock_acquire(${principal}, ${key}, ${owner}, ${ttlMs})`;
  const row = rows[0] as (typeof rows)[number];
  if (row.acquired) return { acquired: true, token: row.token, expiresAt: row.expires_at };
  return { acquired: false, owner: row.owner, expiresAt: row.expires_at, leftMs: Number(row.left_ms) };
}

async function releaseLock(sql: Sql, principal: string, key: string, token: string): Promise<boolean> {
  const rows = await sql`
    update locks k set expires_at = least(k.expires_at, clock_timestamp()), released = true
    where k.principal = ${principal} and k.key = ${key} and k.token = ${token}
      and (k.released or k.expires_at > clock_timestamp())
    returning k.key`;
  return rows.length > 0;
}

/** Fencing tokens do not depend on the rows, so these can go. Returns how many did. */
async function removeExpiredLocks(sql: Sql, minutes: number, limit: number): Promise<number> {
  const rows = await sql`
    delete from locks k where (k.principal, k.key) in (
      select o.principal, o.key from locks o
      where o.expires_at > '-infinity' and o.expires_at < clock_timestamp() - ${minutes} * interval '1 minute'
      order by o.expires_at limit ${limit} for update skip locked)
      and k.expires_at < clock_timestamp() - ${minutes} * interval '1 minute'`;
  return rows.count;
}
