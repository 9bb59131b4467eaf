// Dead letters: events that were given up, listed with their content, put back, discarded.
import { deadLetterNotFound } from "../base/errors.ts";
import { arrayLiteral } from "../storage/lists.ts";
import type { Pool, Sql } from "../storage/pool.ts";
import { runAgain } from "../storage/retry.ts";
import type { StoredEvent } from "../stream/event.ts";
import { keyHash } from "./ledger/key-hash.ts";
import { resumeKeys } from "./ledger/paused-keys.ts";
import { type ContentColumns, eventOf } from "./letter-content.ts";

export type DeadLetter = {
  id: number;
  event: StoredEvent;
  /** In whose hands it died. */
  consumer: string | null;
  reason: "rejected" | "max-attempts";
  attempts: number;
  firstError: string;
  firstFailedAt: string;
  lastError: string;
  lastFailedAt: string;
  deadAt: string;
};

/** Some by their ids, or all there are now. */
export type Choice = { ids: readonly number[] } | { all: true };

export type DeadLetters = {
  /** A page of those behind an id, oldest first; fewer than the limit when they are large. */
  list: (
    subscription: number,
    page: { after: number; limit: number },
  ) => Promise<{ letters: DeadLetter[]; next: number | null }>;
  /** Throws `dead-letter-not-found`. */
  get: (subscription: { id: number; name: string }, id: number) => Promise<DeadLetter>;
  /** Hands them out again, as if for the first time. Returns how many. */
  replay: (subscription: number, choice: Choice, signal: AbortSignal) => Promise<number>;
  /** Returns how many. */
  discard: (subscription: number, choice: Choice, signal: AbortSignal) => Promise<number>;
  /** Of this process. */
  counters: () => { replayed: number; discarded: number };
};

export type DeadLettersOptions = {
  reads: Pool;
  writes: Pool;
  /** Something can be handed out under this cursor. */
  onChanged: (cursor: number) => void;
};

type Row = ContentColumns & {
  dead_id: string;
  consumer: string | null;
  reason: DeadLetter["reason"];
  attempts: number;
  first_error: string;
  first_at: string;
  last_error: string;
  last_at: string;
  dead_at: string;
};

const pageBytes = 2_000_000;
const lettersAtOnce = 500;

export function createDeadLetters({ reads, writes, onChanged }: DeadLettersOptions): DeadLetters {
  const counters = { replayed: 0, discarded: 0 };

  function columns(sql: Sql) {
    return sql`
      l.id as dead_id, l.consumer, l.reason, l.attempts, l.first_error, l.first_at, l.last_error, l.last_at, l.dead_at,
      l.position, l.stream, l."offset", l.event_id, l.type, l.recorded_at, l.schema_version, l.correlation_id,
      l.partition_key, l.attributes, l.data, l.data_binary`;
  }

  /** The bounds of a choice: what dies from now on is not meant. */
  async function boundsOf(subscription: number, choice: Choice): Promise<{ ids: string | null; upTo: number }> {
    if ("ids" in choice) return { ids: arrayLiteral(choice.ids), upTo: Number.MAX_SAFE_INTEGER };
    const rows = await reads.run(
      (sql) => sql<{ last: string | null }[]>`
        select max(l.id) as last from dead_letters l where l.subscription_id = ${subscription}`,
    );
    return { ids: null, upTo: Number(rows[0]?.last ?? 0) };
  }

  return {
    async list(subscription, { after, limit }) {
      const rows = await reads.run(
        (sql) => sql<(Row & { found: string })[]>`
          select ${columns(sql)}, i.found
          from (
            select d.id, count(*) over () as found,
              sum(d.bytes) over (order by d.id rows unbounded preceding) - d.bytes as bytes_before
            from (
              select m.id, 500 + coalesce(pg_column_size(m.data), 0) + coalesce(pg_column_size(m.data_binary), 0) as bytes
              from dead_letters m where m.subscription_id = ${subscription} and m.id > ${after}
              order by m.id limit ${limit + 1}
            ) d
          ) i join dead_letters l using (id)
          where i.bytes_before < ${pageBytes}
          order by l.id limit ${limit}`,
      );
      const letters = rows.map(fromRow);
      const isMore = Number(rows[0]?.found ?? 0) > letters.length;
      return { letters, next: isMore ? (letters.at(-1)?.id ?? null) : null };
    },
    async get({ id: subscription, name }, id) {
      const rows = await reads.run(
        (sql) => sql<Row[]>`
          select ${columns(sql)} from dead_letters l where l.id = ${id} and l.subscription_id = ${subscription}`,
      );
      if (rows[0] === undefined) throw deadLetterNotFound(name, String(id));
      return fromRow(rows[0]);
    },
    async replay(subscription, choice, signal) {
      const { ids, upTo } = await boundsOf(subscription, choice);
      let replayed = 0;
      for (let after = 0; !signal.aborted; ) {
        const letters = await writes.run((sql) => selectTargets(sql, subscription, { ids, after, upTo }));
        for (const [target, group] of Map.groupBy(letters, (letter) => letter.target)) {
          if (target === null) continue;
          const cursor = Number(target);
          const groupIds = arrayLiteral(group.map((letter) => letter.id));
          const keys = arrayLiteral(
            group.map((letter) => keyHash({ partitionKey: letter.partition_key, position: Number(letter.position) })),
          );
          const rows = await runAgain(
            writes,
            (sql) => sql<{ replayed: number }[]>`
              select dead_letters_replay(${cursor}, ${groupIds}::bigint[], ${keys}::bigint[]) as replayed`,
          );
          const count = rows[0]?.replayed ?? 0;
          replayed += count;
          counters.replayed += count;
          onChanged(cursor);
        }
        if (letters.length < lettersAtOnce) break;
        after = Number(letters.at(-1)?.id);
      }
      return replayed;
    },
    async discard(subscription, choice, signal) {
      const { ids, upTo } = await boundsOf(subscription, choice);
      let discarded = 0;
      while (!signal.aborted) {
        const rows = await writes.run(
          (sql) => sql<{ cursor_id: string | null }[]>`
            delete from dead_letters l where l.id = any(array(
              select d.id from dead_letters d
              where d.subscription_id = ${subscription} and d.id <= ${upTo} and (${ids}::bigint[] is null or d.id = any(${ids}::bigint[]))
              order by d.id limit ${lettersAtOnce}))
            returning l.cursor_id`,
        );
        discarded += rows.length;
        counters.discarded += rows.length;
        for (const cursor of new Set(rows.map((row) => row.cursor_id))) {
          if (cursor !== null && (await resumeKeys(writes, Number(cursor))) > 0) onChanged(Number(cursor));
        }
        if (rows.length < lettersAtOnce) break;
      }
      return discarded;
    },
    counters: () => counters,
  };
}

type Target = { id: string; target: string | null; position: string; partition_key: string | null };

/** The next letters of a choice, and the cursor to which each goes: its own, or the one that all share now, or its consumer's. */
function selectTargets(
  sql: Sql,
  subscription: number,
  { ids, after, upTo }: { ids: string | null; after: number; upTo: number },
) {
  return sql<Target[]>`
    select l.id, l.position, l.partition_key, coalesce(l.cursor_id, (
        select k.id from subscription_cursors k
        where k.subscription_id = ${subscription} and k.consumer = any(array['', l.consumer]) order by k.consumer limit 1)) as target
    from dead_letters l
    where l.subscription_id = ${subscription} and l.id > ${after} and l.id <= ${upTo}
      ${ids === null ? sql`` : sql`and l.id = any(${ids}::bigint[])`}
    order by l.id limit ${lettersAtOnce}`;
}

function fromRow(row: Row): DeadLetter {
  return {
    id: Number(row.dead_id),
    event: eventOf(row),
    consumer: row.consumer,
    reason: row.reason,
    attempts: row.attempts,
    firstError: row.first_error,
    firstFailedAt: row.first_at,
    lastError: row.last_error,
    lastFailedAt: row.last_at,
    deadAt: row.dead_at,
  };
}
