// Relays the outbox: its rows become events, in order within each stream, and go in the statement that stores them.
import { Problem } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import { classify, rowsNotHeld } from "../../storage/pg-errors.ts";
import type { Pool } from "../../storage/pool.ts";
import type { Appender } from "../append.ts";
import type { NewEvent } from "../event.ts";
import { maxEventsPerAppend } from "../event-input.ts";
import { createBlockedStreams } from "./blocked-streams.ts";
import { createHorizon } from "./horizon.ts";
import { type OutboxRow, readSnapshot, readWaiting, setAside } from "./row.ts";
import { eventOfRow } from "./row-event.ts";

export type RelayOptions = {
  pool: Pool;
  appender: Pick<Appender, "append">;
  /** Name of the service, for the default source of events. */
  service: string;
  maxEventBytes: number;
  log: Log;
};

export type RelayCounters = { relayed: number; setAside: number };

export type Relay = {
  /**
   * Relays what waits, until nothing is left but streams that cannot be relayed now, or the signal fires. Returns in how many
   * milliseconds to try again, null where nothing is left.
   */
  drain: (signal: AbortSignal) => Promise<number | null>;
  /** Forgets what it knew of the outbox: another process has been at it. */
  reset: () => void;
  counters: () => RelayCounters;
};

const pageRows = 5_000;
const pageBytes = 8_000_000;
const retryMs = 50;
const maxRetryMs = 1_000;
/** Each look names the streams that it leaves out: with so many of them, all wait. */
const maxBlocked = 1_000;
/** A failure is told to people, and may quote what they wrote. */
const maxFailureLength = 2_000;

type Row = { id: number; event: NewEvent };

export function createRelay({ pool, appender, service, maxEventBytes, log }: RelayOptions): Relay {
  const counters: RelayCounters = { relayed: 0, setAside: 0 };
  const horizon = createHorizon();
  const blocked = createBlockedStreams({ retryMs, maxRetryMs });

  async function giveUp(stream: string, id: number, failure: string): Promise<void> {
    await setAside(pool, id, failure.slice(0, maxFailureLength).toWellFormed());
    counters.setAside++;
    log.warn({ stream, row: id, failure }, "a row of the outbox cannot become an event");
  }

  /** Stores rows of one stream, all at once; where some are refused, in halves until only those are left. */
  async function store(stream: string, rows: readonly Row[]): Promise<void> {
    try {
      const events = rows.map(({ event }) => event);
      const outbox = rows.map(({ id }) => id);
      await appender.append({ stream, events, expected: "any", idempotency: null, isList: rows.length > 1, outbox });
      counters.relayed += rows.length;
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      if (rows.length === 1) return giveUp(stream, (rows[0] as Row).id, refusal);
      const middle = rows.length >> 1;
      await store(stream, rows.slice(0, middle));
      await store(stream, rows.slice(middle));
    }
  }

  async function relayStream(stream: string, rows: readonly OutboxRow[]): Promise<void> {
    let batch: Row[] = [];
    const flush = async () => {
      if (batch.length > 0) await store(stream, batch);
      batch = [];
    };
    for (const row of rows) {
      const event = eventOfRow(row, service, maxEventBytes);
      if (typeof event === "string") await giveUp(stream, row.id, event);
      else batch.push({ id: row.id, event });
      if (batch.length === maxEventsPerAppend) await flush();
    }
    await flush();
  }

  /** Relays a page of what waits, without the streams that are blocked. Returns whether there was any. */
  async function relayPage(): Promise<boolean> {
    const nowMs = performance.now();
    const without = blocked.at(nowMs);
    if (without.length >= maxBlocked) return false;
    const limits = { limit: pageRows, maxBytes: pageBytes };
    const rows = await readWaiting(pool, { after: horizon.after(nowMs), without, ...limits });
    if (horizon.isCurious(nowMs)) horizon.observe(await pool.run(readSnapshot), nowMs);
    const streams = [...Map.groupBy(rows, (row) => row.stream)];
    const outcomes = await Promise.allSettled(streams.map(([stream, mine]) => relayStream(stream, mine)));
    const failures: unknown[] = [];
    for (const [n, outcome] of outcomes.entries()) {
      if (outcome.status === "fulfilled") continue;
      failures.push(outcome.reason);
      blocked.block((streams[n] as (typeof streams)[0])[0], performance.now());
    }
    if (failures.length > 0) {
      const err = failures.find((error) => !isHeldElsewhere(error)) ?? failures[0];
      log[isHeldElsewhere(err) ? "debug" : "warn"]({ err, streams: failures.length }, "the outbox waits");
    }
    if (without.length === 0 && failures.length === 0) horizon.passed(rows.at(-1)?.id ?? 0);
    else horizon.reset();
    return rows.length > 0;
  }

  return {
    async drain(signal) {
      for (let delayMs = retryMs; !signal.aborted; ) {
        try {
          if (!(await relayPage())) break;
          delayMs = retryMs;
        } catch (error) {
          horizon.reset();
          if (signal.aborted) break;
          log.warn({ err: error }, "the outbox waits");
          await pause(delayMs, signal);
          delayMs = Math.min(delayMs * 2, maxRetryMs);
        }
      }
      return blocked.nextMs(performance.now());
    },
    reset() {
      horizon.reset();
      blocked.reset();
    },
    counters: () => counters,
  };
}

/** Why what was asked for can never be stored; null where that is not said, and trying again is worth it. */
function refusalOf(error: unknown): string | null {
  if (!(error instanceof Problem)) return null;
  if (error.code !== "internal-error") return error.retryable ? null : error.message;
  const { kind, message } = classify(error.cause);
  return kind === "refused" && !isHeldElsewhere(error) ? message : null;
}

/** The rows are gone or held: by a relay that was passed over, or by a statement that goes on after its connection broke. */
function isHeldElsewhere(error: unknown): boolean {
  return error instanceof Problem && classify(error.cause).code === rowsNotHeld;
}
