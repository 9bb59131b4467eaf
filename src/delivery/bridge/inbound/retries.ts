// Tries messages again that could not become events, when they are due or somebody has put them back.
import { Problem } from "../../../base/errors.ts";
import type { Log } from "../../../base/log.ts";
import type { Pool } from "../../../storage/pool.ts";
import type { Appender } from "../../../stream/append.ts";
import { failLetter, type RemoteLetter, readDueLetters } from "../../../stream/remote/letters.ts";
import type { RemoteStream } from "../../../stream/remote/remote-streams.ts";
import { failureOf } from "./batch.ts";
import { type ReadContext, readMessage } from "./message.ts";
import { isMovedElsewhere, refusalOf } from "./storing.ts";

export type RetriesOptions = {
  pool: Pool;
  appender: Pick<Appender, "append">;
  context: Omit<ReadContext, "stream">;
  /** A message was given up. */
  onDead: () => void;
  log: Log;
};

const lettersAtOnce = 100;

/** Tries what is due, oldest first, until nothing is. Throws what the database throws when it is away. */
export async function retryDue(options: RetriesOptions, remote: RemoteStream, signal: AbortSignal): Promise<void> {
  const { pool } = options;
  while (!signal.aborted) {
    const letters = await readDueLetters(pool, remote.id, lettersAtOnce);
    for (const letter of letters) {
      if (signal.aborted) return;
      await retry(options, remote, letter);
    }
    if (letters.length === 0) return;
  }
}

async function retry(
  { pool, appender, context, onDead, log }: RetriesOptions,
  remote: RemoteStream,
  letter: RemoteLetter,
): Promise<void> {
  const { id: stream, name } = remote;
  const { event } = readMessage({ ...letter, data: letter.payload }, { ...context, stream: name });
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
  await failLetter(pool, letter.id, failure);
  if (failure.retryMs !== null) return;
  onDead();
  log.warn({ remoteStream: name, deadLetter: letter.id, ...failure }, "a message was given up");
}
