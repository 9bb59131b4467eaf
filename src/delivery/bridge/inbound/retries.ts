// Tries messages again that could not become events, when they are due or somebody has put them back.
import { Problem } from "../../../base/errors.ts";
import type { Log } from "../../../base/log.ts";
import { startLoop } from "../../../base/loop.ts";
import { createSemaphore } from "../../../base/semaphore.ts";
import type { Leases } from "../../../storage/lease.ts";
import type { Pool } from "../../../storage/pool.ts";
import type { Appender } from "../../../stream/append.ts";
import {
  failLetter,
  type RemoteLetter,
  readDueLetters,
  remotesWithDueLetters,
} from "../../../stream/remote/letters.ts";
import { findRemoteStream, type RemoteStream } from "../../../stream/remote/remote-streams.ts";
import { readLogId } from "../../../stream/stream-head.ts";
import { failureOf } from "./batch.ts";
import { type ReadSettings, readMessage } from "./message.ts";
import { isMovedElsewhere, refusalOf } from "./storing.ts";

export type RetryOptions = {
  pool: Pool;
  appender: Pick<Appender, "append">;
  context: ReadSettings;
  /** A message was given up. */
  onDead: () => void;
  log: Log;
};

export type RetriesOptions = RetryOptions & { leases: Pick<Leases, "want"> };

export type Retries = {
  /** Messages were put back: looked at at once if it is done here, and within a second elsewhere. */
  wake: () => void;
  stop: () => Promise<void>;
};

/** One process tries the messages of all remote streams, whether or not it reaches NATS: they are in the database. */
const lettersLease = "remote-letters";
const lookMs = 1_000;
const lettersAtOnce = 100;
/** Each holds a page of messages. */
const remotesAtOnce = 4;
/** Problems that the next message would have too. */
const ofAll = new Set(["storage-unavailable", "outcome-unknown", "overloaded", "shutting-down"]);

export function startRetries(options: RetriesOptions): Retries {
  const { pool, leases, log } = options;
  const turns = createSemaphore(remotesAtOnce);
  /** Of each remote stream, so that the same is not logged each second. */
  const failures = new Map<number, string>();
  let held: AbortSignal | null = null;
  /** By remote stream: one that takes long holds up no other. */
  const underWay = new Map<number, Promise<void>>();

  async function look(): Promise<void> {
    const signal = held;
    if (signal === null) return;
    for (const id of await remotesWithDueLetters(pool)) {
      if (signal.aborted) return;
      if (!underWay.has(id)) underWay.set(id, tryDue(id, signal));
    }
  }

  async function tryDue(id: number, signal: AbortSignal): Promise<void> {
    let remoteStream: string | null = null;
    try {
      await turns.run(async () => {
        const remote = await findRemoteStream(pool, id);
        remoteStream = remote?.name ?? null;
        if (remote !== null) await retryDue(options, remote, signal);
      });
      failures.delete(id);
    } catch (error) {
      const reason = String(error);
      if (!signal.aborted && failures.get(id) !== reason)
        log.warn({ err: error, remoteStream }, "messages wait for another try");
      failures.set(id, reason);
    } finally {
      underWay.delete(id);
    }
  }

  const loop = startLoop("remote-letters", lookMs, look, log);
  const giveUp = leases.want(lettersLease, {
    onGained(_lease, signal) {
      held = signal;
      signal.addEventListener(
        "abort",
        () => {
          if (held === signal) held = null;
        },
        { once: true },
      );
      loop.wake();
    },
  });

  return {
    wake: loop.wake,
    async stop() {
      await giveUp();
      await loop.stop();
      await Promise.all(underWay.values());
    },
  };
}

/**
 * Tries what is due, oldest first, each once: what is due still then waits for the next call. Throws at once what every message would
 * meet, and at the end what else was met first.
 */
export async function retryDue(options: RetryOptions, remote: RemoteStream, signal: AbortSignal): Promise<void> {
  const logId = await options.pool.run(readLogId);
  let failure: unknown = null;
  for (let last = 0; ; ) {
    const letters = await readDueLetters(options.pool, remote.id, last, lettersAtOnce);
    for (const letter of letters) {
      if (signal.aborted) return;
      last = letter.id;
      try {
        await retry(options, remote, letter, logId);
      } catch (error) {
        if (!(error instanceof Problem) || ofAll.has(error.code)) throw error;
        failure ??= error;
      }
    }
    if (letters.length === 0) break;
  }
  if (failure !== null) throw failure;
}

async function retry(
  { pool, appender, context, onDead, log }: RetryOptions,
  remote: RemoteStream,
  letter: RemoteLetter,
  logId: string,
): Promise<void> {
  const { id: stream, name, source } = remote;
  const { event } = readMessage({ ...letter, data: letter.payload }, { ...context, logId, stream: name, source });
  let problem: Problem;
  if (event instanceof Problem) problem = event;
  else
    try {
      const mirror = { remote: stream, revision: null, cursor: null, origins: [], letters: [], settled: [letter.id] };
      await appender.append({ stream: name, events: [event], expected: "any", idempotency: null, mirror });
      log.info({ remoteStream: name, deadLetter: letter.id }, "a message was stored after all");
      return;
    } catch (error) {
      // Somebody has discarded it, or has it in hand.
      if (isMovedElsewhere(error)) return;
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      problem = refusal;
    }
  const failure = failureOf(problem, remote, letter.attempts + 1);
  const isMine = await failLetter(pool, letter, failure);
  if (!isMine || failure.retryMs !== null) return;
  onDead();
  log.warn({ remoteStream: name, deadLetter: letter.id, ...failure }, "a message was given up");
}
