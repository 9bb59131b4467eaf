// Answers of commands that bear an Idempotency-Key: a second request of the key is answered as the first.
import { readNumbers } from "../../storage/lists.ts";
import type { Pool } from "../../storage/pool.ts";
import type { CommandAnswer } from "../../stream/append-request.ts";

/** Where an event of a command was stored. */
export type EmittedEvent = { stream: string; offset: number; id: string };

/** What a command came to. */
export type CommandOutcome = {
  workflowId: string;
  isNew: boolean;
  /** Null when the command has no result. */
  result: unknown;
  /** In the order in which they were emitted. */
  events: readonly EmittedEvent[];
};

/** What is known of an outcome before it is stored. */
export type Unstored = Omit<CommandOutcome, "events"> & { events: readonly Omit<EmittedEvent, "offset">[] };

export type Remembered = { requestHash: string; outcome: CommandOutcome };

/** The answer to a key; null where there is none. */
export async function findAnswer(pool: Pool, key: string): Promise<Remembered | null> {
  const [row] = await pool.run(
    (sql) => sql<{ request_hash: string; answer: string; offsets: string }[]>`
      select request_hash, answer::text as answer, offsets::text as offsets from command_answers where key = ${key}`,
  );
  if (row === undefined) return null;
  const { events, ...rest } = JSON.parse(row.answer) as Unstored;
  const offsets = readNumbers(row.offsets);
  return {
    requestHash: row.request_hash,
    outcome: { ...rest, events: events.map((event, n) => ({ ...event, offset: offsets[n] as number })) },
  };
}

/** Keeps the answer of a command that emitted nothing. False when the key has one already. */
export async function keepAnswer(pool: Pool, { key, requestHash, answer }: CommandAnswer): Promise<boolean> {
  const [row] = await pool.run(
    (sql) => sql<{ kept: boolean }[]>`select command_answer(${key}, ${requestHash}, ${answer}::text::json) as kept`,
  );
  return row?.kept === true;
}
