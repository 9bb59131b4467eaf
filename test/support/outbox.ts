// Rows of the outbox, as services insert them in their own transactions.
import type postgres from "postgres";

export type InsertedRow = {
  stream: string;
  type?: string;
  data?: unknown;
  event_id?: string;
  attributes?: Record<string, unknown>;
  correlation_id?: string;
  partition_key?: string;
  schema_version?: number;
  data_binary?: Uint8Array;
  own?: boolean;
};

/** Inserts one row; returns its id. */
export async function insertRow(
  sql: postgres.Sql | postgres.TransactionSql,
  { stream, type = "A", data, attributes = {}, ...rest }: InsertedRow,
): Promise<number> {
  const [row] = await sql<{ id: string }[]>`
    insert into outbox (stream, type, data, data_binary, event_id, attributes, correlation_id, partition_key, schema_version, own)
    values (${stream}, ${type}, ${data === undefined ? null : JSON.stringify(data)}::text::json, ${rest.data_binary ?? null},
            ${rest.event_id ?? null}, ${JSON.stringify(attributes)}::text::jsonb, ${rest.correlation_id ?? null},
            ${rest.partition_key ?? null}, ${rest.schema_version ?? 1}, ${rest.own ?? false})
    returning id`;
  return Number(row?.id);
}

/** How many rows wait, and why those that were set aside were. */
export async function outboxState(sql: postgres.Sql): Promise<{ waiting: number; failures: string[] }> {
  const rows = await sql<{ failure: string | null }[]>`select failure from outbox order by id`;
  const failures = rows.flatMap(({ failure }) => (failure === null ? [] : [failure]));
  return { waiting: rows.length - failures.length, failures };
}
