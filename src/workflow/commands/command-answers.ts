// Answers of commands that bear an Idempotency-Key: a second request of the key is answered as the first.
import { arrayLiteral, nameList, readNumbers } from "../../storage/lists.ts";
import type { Pool } from "../../storage/pool.ts";
import type { CommandAnswer } from "../../stream/append-request.ts";
import { readHead } from "../../stream/resolve.ts";

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
  /** Up to where the log has them all; null when there are none. */
  lastPosition: number | null;
};

/** What is known of an outcome before it is stored. */
export type Unstored = Omit<CommandOutcome, "events" | "lastPosition"> & {
  events: readonly Omit<EmittedEvent, "offset">[];
};

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
  const stored = events.map((event, n) => ({ ...event, offset: offsets[n] as number }));
  const lastPosition = stored.length === 0 ? null : await findLastPosition(pool, stored);
  return { requestHash: row.request_hash, outcome: { ...rest, events: stored, lastPosition } };
}

/** Where the last of these events stands in the log; of what the log has forgotten, its head is as good. */
async function findLastPosition(pool: Pool, events: readonly EmittedEvent[]): Promise<number> {
  const last = new Map<string, number>();
  for (const { stream, offset } of events) last.set(stream, Math.max(offset, last.get(stream) ?? -1));
  const [row] = await pool.run(
    (sql) => sql<{ found: number; position: string | null }[]>`
      select count(*)::int as found, max(e.position) as position
      from unnest(${nameList([...last.keys()])}::text[], ${arrayLiteral([...last.values()])}::bigint[]) u(stream, at)
        join streams s on s.name = u.stream
        cross join lateral (
          select ev.position from events ev where ev.stream_id = s.id and ev.ephemeral = s.ephemeral and ev."offset" = u.at) e`,
  );
  if (row !== undefined && row.found === last.size) return Number(row.position);
  return pool.run((sql) => readHead(sql, -1));
}

/** Keeps the answer of a command that emitted nothing. False when the key has one already. */
export async function keepAnswer(pool: Pool, { key, requestHash, answer }: CommandAnswer): Promise<boolean> {
  const [row] = await pool.run(
    (sql) => sql<{ kept: boolean }[]>`select command_answer(${key}, ${requestHash}, ${answer}::text::json) as kept`,
  );
  return row?.kept === true;
}
