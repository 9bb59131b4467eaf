// Appends events: concurrent requests travel in batches, each batch is one call of log_append, each request has its own outcome.
import { type Batcher, createBatcher } from "../base/batcher.ts";
import {
  eventIdConflict,
  idempotencyKeyInUse,
  idempotencyKeyReused,
  internalError,
  outcomeUnknown,
  overloaded,
  type Problem,
  shuttingDown,
  storageUnavailable,
  wrongExpectedVersion,
} from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { readBooleans, readNumbers } from "../storage/lists.ts";
import { classify } from "../storage/pg-errors.ts";
import type { Pool } from "../storage/pool.ts";
import { type AppendRequest, clientKey, type Expected } from "./append-request.ts";
import type { NewEvent, StoredEvent } from "./event.ts";
import { callLogAppend, type LogAppendRow as Row } from "./log-append.ts";

export type Appended = {
  stream: string;
  events: { id: string; offset: number; duplicate: boolean }[];
  lastPosition: number;
  /** Nothing was stored now: every event had been stored before. */
  duplicate: boolean;
};

export type AppenderOptions = {
  pool: Pool;
  log: Log;
  maxBatchEvents: number;
  maxBatchBytes: number;
  batchesInFlight: number;
  /** Bytes of requests that may wait; more are refused as overload. */
  maxWaitingBytes: number;
  /** A batch was committed: its events, in order of position, without a gap between them. */
  onAppended: (events: StoredEvent[]) => void;
  /** The connection broke in a batch: nobody knows whether it was committed. */
  onUnknown: () => void;
  /** The log has no partition for the next position; resolves when it is worth trying again. */
  onNoPartition: () => Promise<void>;
};

export type Appender = {
  /** Stores the events of one request, all or none. Throws `wrong-expected-version`, `event-id-conflict`,
   * `idempotency-key-reused`, `idempotency-key-in-use`, `overloaded`, `storage-unavailable`, `outcome-unknown`. */
  append: (request: AppendRequest) => Promise<Appended>;
  /** What the appender has done since it started. */
  counters: () => AppendCounters;
  /** Refuses new requests and waits for those under way. */
  stop: () => Promise<void>;
};

export type AppendCounters = {
  requests: number;
  events: number;
  duplicates: number;
  refused: number;
  failed: number;
  batches: number;
};

type Pending = AppendRequest & {
  bytes: number;
  count: number;
  resolve: (appended: Appended) => void;
  reject: (problem: Problem) => void;
};

const maxAttempts = 5;

export function createAppender(options: AppenderOptions): Appender {
  const { pool, log } = options;
  const counters: AppendCounters = { requests: 0, events: 0, duplicates: 0, refused: 0, failed: 0, batches: 0 };
  const running = new Set<string>();
  let waitingBytes = 0;
  let stopped = false;

  const batcher: Batcher<Pending> = createBatcher<Pending>({
    flush: (batch) => store(batch, 1),
    weigh: (pending) => pending,
    maxCount: options.maxBatchEvents,
    maxBytes: options.maxBatchBytes,
    maxInFlight: options.batchesInFlight,
    onDefect(error, batch) {
      log.error({ err: error }, "append batch failed");
      for (const pending of batch) pending.reject(internalError(error));
    },
  });

  async function store(batch: Pending[], attempt: number): Promise<void> {
    let row: Row;
    try {
      counters.batches++;
      row = await pool.run((sql) => callLogAppend(sql, batch));
    } catch (error) {
      return failed(batch, attempt, error);
    }
    settle(batch, row);
  }

  /** Decides what a failed statement means: bisect to the guilty request, try again, or tell all that it failed. */
  async function failed(batch: Pending[], attempt: number, error: unknown): Promise<void> {
    const failure = classify(error);
    if (failure.kind === "refused" && batch.length > 1) {
      const middle = batch.length >> 1;
      await store(batch.slice(0, middle), 1);
      return store(batch.slice(middle), 1);
    }
    if ((failure.kind === "retry" || failure.kind === "no-partition") && attempt < maxAttempts) {
      if (failure.kind === "no-partition") await options.onNoPartition();
      return store(batch, attempt + 1);
    }
    if (failure.kind === "unknown") options.onUnknown();
    log[failure.kind === "refused" ? "warn" : "error"](
      { err: error, kind: failure.kind, requests: batch.length },
      "append failed",
    );
    for (const pending of batch) pending.reject(problemOf(failure.kind, error));
  }

  function settle(batch: Pending[], row: Row): void {
    const status = readNumbers(row.status);
    const actual = readNumbers(row.actual);
    const offsets = readNumbers(row.offsets);
    const relative = readNumbers(row.relative);
    const positions = readNumbers(row.positions);
    const duplicates = readBooleans(row.duplicates);
    const base = row.base === null ? 0 : Number(row.base);
    const recordedTime = row.recorded ?? "";
    const stored: StoredEvent[] = [];
    const settled: (() => void)[] = [];
    let n = 0;
    for (let r = 0; r < batch.length; r++) {
      const pending = batch[r] as Pending;
      const code = status[r] as number;
      if (code === 0 || code === 1 || code === 5 || code === 6) {
        const events: Appended["events"] = [];
        let lastPosition = -1;
        for (const event of pending.events) {
          const offset = offsets[n] as number;
          const at = relative[n] ?? null;
          const before = positions[n] ?? null;
          const duplicate = duplicates[n] as boolean;
          events.push({ id: event.id, offset, duplicate });
          if (duplicate) counters.duplicates++;
          let position = -1;
          if (at !== null) {
            position = base + at;
            stored.push(storedEvent(event, pending.stream, code === 6, offset, position, recordedTime));
          } else if (before !== null) position = before < 0 ? base - 1 - before : before;
          if (position > lastPosition) lastPosition = position;
          n++;
        }
        settled.push(() => pending.resolve({ stream: pending.stream, events, lastPosition, duplicate: code === 1 }));
      } else {
        const guilty = pending.events.filter((_, i) => duplicates[n + i]).map((event) => event.id);
        n += pending.events.length;
        settled.push(() => pending.reject(refusal(pending, code, actual[r] as number, guilty)));
      }
    }
    counters.events += stored.length;
    // The tail first: who reads the answer and then the live end must find the event there.
    if (stored.length > 0) options.onAppended(stored);
    for (const answer of settled) answer();
  }

  return {
    append(request) {
      if (stopped) return Promise.reject(shuttingDown());
      if (waitingBytes > options.maxWaitingBytes) {
        counters.failed++;
        return Promise.reject(overloaded("Too many appends are waiting for the database"));
      }
      const key = request.idempotency?.key;
      if (key !== undefined && running.has(key)) {
        counters.refused++;
        return Promise.reject(idempotencyKeyInUse(clientKey(key)));
      }
      if (key !== undefined) running.add(key);
      let bytes = 256;
      for (const event of request.events) bytes += event.bytes;
      waitingBytes += bytes;
      counters.requests++;
      return new Promise((resolve, reject) => {
        let settled = false;
        const done = () => {
          settled = true;
          waitingBytes -= bytes;
          if (key !== undefined) running.delete(key);
        };
        batcher.push({
          ...request,
          bytes,
          count: request.events.length,
          resolve(appended) {
            if (settled) return;
            done();
            resolve(appended);
          },
          reject(problem) {
            if (settled) return;
            done();
            if (problem.status >= 500) counters.failed++;
            else counters.refused++;
            reject(problem);
          },
        });
      });
    },
    counters: () => counters,
    async stop() {
      stopped = true;
      await batcher.idle();
    },
  };
}

function problemOf(kind: ReturnType<typeof classify>["kind"], error: unknown): Problem {
  switch (kind) {
    case "unavailable":
    case "retry":
      return storageUnavailable("The database cannot store events now; nothing was stored", error);
    case "no-partition":
      return storageUnavailable("The log is being extended; nothing was stored", error);
    case "unknown":
      return outcomeUnknown(error);
    case "refused":
    case "defect":
      return internalError(error);
    default:
      return kind satisfies never;
  }
}

function refusal(pending: Pending, code: number, actual: number, guilty: string[]): Problem {
  if (code === 2) return wrongExpectedVersion(pending.stream, describe(pending.expected), String(actual));
  if (code === 3) return eventIdConflict(pending.stream, guilty.slice(0, 10));
  if (code === 4) return idempotencyKeyReused(clientKey(pending.idempotency?.key ?? ""));
  return internalError(new Error(`log_append answered status ${code}`));
}

function describe(expected: Expected): string {
  if (expected === "nothing") return "-1";
  return expected === "something" ? "*" : String(expected);
}

function storedEvent(
  event: NewEvent,
  stream: string,
  ephemeral: boolean,
  offset: number,
  position: number,
  recordedTime: string,
): StoredEvent {
  return {
    position,
    stream,
    ephemeral,
    offset,
    recordedTime,
    id: event.id,
    type: event.type,
    schemaVersion: event.schemaVersion,
    correlationId: event.correlationId,
    partitionKey: event.partitionKey,
    attributes: event.attributes,
    data: event.data,
    binary: event.binary,
    line: null,
  };
}
