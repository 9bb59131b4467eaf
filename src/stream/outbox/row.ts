// Rows of the outbox: reads those that wait, in order, and sets aside those that cannot become events.
import { nameList } from "../../storage/lists.ts";
import type { Pool, Sql } from "../../storage/pool.ts";

/** A row as somebody has inserted it. */
export type OutboxRow = {
  id: number;
  stream: string;
  type: string;
  data: string | null;
  binary: Uint8Array | null;
  eventId: string | null;
  schemaVersion: number;
  correlationId: string | null;
  partitionKey: string | null;
  /** A JSON object. */
  attributes: string;
  /** The service's own. */
  own: boolean;
  createdAt: string;
};

type Columns = {
  id: string;
  stream: string;
  type: string;
  data: string | null;
  data_binary: Uint8Array | null;
  event_id: string | null;
  schema_version: number;
  correlation_id: string | null;
  partition_key: string | null;
  attributes: string;
  own: boolean;
  created_at: string;
};

/** The rows behind an id that wait, in the order of their ids, without some streams; at least one if there is any, whatever its size. */
export async function readWaiting(
  pool: Pool,
  { after, without, limit, maxBytes }: { after: number; without: readonly string[]; limit: number; maxBytes: number },
): Promise<OutboxRow[]> {
  const rows = await pool.run(
    // What is read of sizes is as stored, so that nothing large is unpacked in vain.
    (sql) => sql<Columns[]>`
      select id, stream, type, data::text, data_binary, event_id, schema_version, correlation_id, partition_key,
             attributes::text, own, created_at
      from (
        select o.*, row_number() over w as n,
               sum(coalesce(pg_column_size(o.data), 0) + coalesce(pg_column_size(o.data_binary), 0)) over w as bytes
        from (
          select * from outbox
          where id > ${after} and failure is null and stream <> all(${nameList(without)}::text[]) order by id limit ${limit}
        ) o
        window w as (order by o.id)
      ) o
      where n = 1 or bytes <= ${maxBytes}
      order by id`,
  );
  return rows.map((row) => ({
    id: Number(row.id),
    stream: row.stream,
    type: row.type,
    data: row.data,
    binary: row.data_binary,
    eventId: row.event_id,
    schemaVersion: row.schema_version,
    correlationId: row.correlation_id,
    partitionKey: row.partition_key,
    attributes: row.attributes,
    own: row.own,
    createdAt: row.created_at,
  }));
}

/** Sets a row aside: it does not wait any more, and says why. */
export async function setAside(pool: Pool, id: number, failure: string): Promise<void> {
  await pool.run(
    (sql) => sql`
      update outbox set failure = ${failure}, failed_at = clock_timestamp() where id = ${id} and failure is null`,
  );
}

/** Which transactions were under way: all before `xmin` have ended, none from `xmax` on had begun. */
export type TransactionSnapshot = { xmin: number; xmax: number };

export async function readSnapshot(sql: Sql): Promise<TransactionSnapshot> {
  const [row] = await sql<{ xmin: string; xmax: string }[]>`
    select pg_snapshot_xmin(s)::text as xmin, pg_snapshot_xmax(s)::text as xmax from pg_current_snapshot() s`;
  return { xmin: Number(row?.xmin), xmax: Number(row?.xmax) };
}
