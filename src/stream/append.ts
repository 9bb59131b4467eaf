// Appends events: concurrent requests travel in batches, each batch is one call of log_append, each request has its own outcome.
import { type Batcher, createBatcher } from "../base/batcher.ts";
import { idempotencyKeyInUse, internalError, overloaded, Problem, shuttingDown } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { readBooleans, readNumbers } from "../storage/lists.ts";
import { classify } from "../storage/pg-errors.ts";
import type { Pool } from "../storage/pool.ts";
import { notChecked, problemOf, refusal, storedEvent } from "./append-outcome.ts";
import { type AppendRequest, type CommandAnswer, clientKey } from "./append-request.ts";
import type { NewEvent, StoredEvent } from "./event.ts";
import { appendGroups, type LogAppendRow as Row } from "./log-append.ts";
import type { Checked, Validation } from "./schema/validation.ts";

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
  /** Checks the events of streams that want it. */
  validation: Pick<Validation, "modeOf" | "correct" | "check">;
};

export type Appender = {
  /** Stores the events of one request, all or none. Throws `wrong-expected-version`, `event-id-conflict`,
   * `idempotency-key-reused`, `idempotency-key-in-use`, `schema-mismatch`, `overloaded`, `storage-unavailable`,
   * `schemas-unavailable`, `outcome-unknown`. */
  append: (request: AppendRequest) => Promise<Appended>;
  /**
   * Stores the events of several requests, all or none, in their order, and the answer that goes with them. Of a stream that
   * occurs more than once, only the first request may expect a version. Null where the key of the answer has one already.
   * Throws what `append` throws.
   */
  appendTogether: (requests: readonly AppendRequest[], answer: CommandAnswer | null) => Promise<Appended[] | null>;
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

type Pending = {
  /** Stored together or not at all. */
  requests: readonly AppendRequest[];
  /** How each was checked; null as long as no stream of theirs wants it. */
  checked: readonly Checked[] | null;
  answer: CommandAnswer | null;
  bytes: number;
  count: number;
  resolve: (appended: Appended[] | null) => void;
  reject: (problem: Problem) => void;
};

const maxAttempts = 5;
const unchecked: Checked = { mode: 0, mismatch: null };
/** Statuses of log_append. */
const staleCheck = 7;
const mismatched = 8;
const heldUp = 9;
const answeredBefore = 10;

export function createAppender(options: AppenderOptions): Appender {
  const { pool, validation, log } = options;
  const counters: AppendCounters = { requests: 0, events: 0, duplicates: 0, refused: 0, failed: 0, batches: 0 };
  const running = new Set<string>();
  const checking = new Set<Promise<void>>();
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
      row = await pool.run((sql) => appendGroups(sql, batch));
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
    const outcomes: (Appended[] | (() => void))[] = [];
    let n = 0;
    let r = 0;
    for (const pending of batch) {
      const { requests } = pending;
      const appended: Appended[] = [];
      let refuse: (() => void) | null = null;
      for (let i = 0; i < requests.length; i++) {
        const request = requests[i] as AppendRequest;
        const { events } = request;
        const first = n;
        n += events.length;
        const code = status[r] as number;
        const last = actual[r++] as number;
        if (code === 0 || code === 1 || code === 5 || code === 6) {
          const told: Appended["events"] = [];
          let lastPosition = -1;
          for (let e = first; e < n; e++) {
            const event = events[e - first] as NewEvent;
            const offset = offsets[e] as number;
            const at = relative[e] ?? null;
            const before = positions[e] ?? null;
            const duplicate = duplicates[e] as boolean;
            told.push({ id: event.id, offset, duplicate });
            if (duplicate) counters.duplicates++;
            let position = -1;
            if (at !== null) {
              position = base + at;
              stored.push(storedEvent(event, request.stream, code === 6, offset, position, recordedTime));
            } else if (before !== null) position = before < 0 ? base - 1 - before : before;
            if (position > lastPosition) lastPosition = position;
          }
          appended.push({ stream: request.stream, events: told, lastPosition, duplicate: code === 1 });
          continue;
        }
        const mismatch = pending.checked?.[i]?.mismatch ?? null;
        if (code === staleCheck) {
          validation.correct(request.stream, last);
          // Whatever else is wrong is found again after the check.
          refuse = () => check(pending);
        } else if (code === answeredBefore) refuse ??= () => pending.resolve(null);
        else if (code === mismatched && mismatch !== null) refuse ??= () => pending.reject(mismatch);
        else if (code !== heldUp) {
          const guilty = events.filter((_, e) => duplicates[first + e]).map((event) => event.id);
          refuse ??= () => pending.reject(refusal(request, code, last, guilty));
        }
      }
      outcomes.push(refuse ?? appended);
    }
    counters.events += stored.length;
    // The tail first: who reads the answer and then the live end must find the event there.
    if (stored.length > 0) options.onAppended(stored);
    for (let i = 0; i < batch.length; i++) {
      const outcome = outcomes[i] as Appended[] | (() => void);
      if (typeof outcome === "function") outcome();
      else (batch[i] as Pending).resolve(outcome);
    }
  }

  /** Checks requests against the schemas of their events, and lets them go on to the log, which has the last word. */
  function check(pending: Pending): void {
    const { requests } = pending;
    if (requests.every(isUnchecked)) {
      pending.checked = null;
      batcher.push(pending);
      return;
    }
    const checks = requests.map(({ stream, events, isList }) => {
      const mode = validation.modeOf(stream);
      return mode === 0 ? unchecked : validation.check(stream, mode, events, isList === true);
    });
    const checked = Promise.all(checks).then(
      (results) => {
        pending.checked = results;
        batcher.push(pending);
      },
      (error: unknown) => pending.reject(error instanceof Problem ? error : notChecked(error)),
    );
    checking.add(checked);
    void checked.then(() => checking.delete(checked));
  }

  const isUnchecked = ({ stream }: AppendRequest) => validation.modeOf(stream) === 0;

  /** `told`: what the caller is told of what was stored. */
  function submit<Told>(
    requests: readonly AppendRequest[],
    answer: CommandAnswer | null,
    told: (appended: Appended[] | null) => Told,
  ): Promise<Told> {
    if (stopped) return Promise.reject(shuttingDown());
    if (waitingBytes > options.maxWaitingBytes) {
      counters.failed++;
      return Promise.reject(overloaded("Too many appends are waiting for the database"));
    }
    const key = answer?.key ?? requests[0]?.idempotency?.key;
    if (key !== undefined && running.has(key)) {
      counters.refused++;
      return Promise.reject(idempotencyKeyInUse(clientKey(key)));
    }
    if (key !== undefined) running.add(key);
    let bytes = 256;
    let count = 0;
    for (const { events } of requests) {
      count += events.length;
      for (const event of events) bytes += event.bytes;
    }
    waitingBytes += bytes;
    counters.requests++;
    return new Promise((resolve, reject) => {
      let settled = false;
      const done = () => {
        settled = true;
        waitingBytes -= bytes;
        if (key !== undefined) running.delete(key);
      };
      check({
        requests,
        checked: null,
        answer,
        bytes,
        count,
        resolve(appended) {
          if (settled) return;
          done();
          resolve(told(appended));
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
  }

  return {
    append: (request) => submit([request], null, (appended) => appended?.[0] as Appended),
    appendTogether: (requests, answer) => submit(requests, answer, (appended) => appended),
    counters: () => counters,
    async stop() {
      stopped = true;
      // A request can come back from the log to be checked by another mode.
      do {
        await Promise.all(checking);
        await batcher.idle();
      } while (checking.size > 0);
    },
  };
}
