// SQL beside a service: looks at its database, and holds the log's invariants against it.
import postgres from "postgres";
import { searchPath } from "../../src/storage/migrate.ts";
import { testSchema } from "./postgres.ts";

/** Connections to a test database with the schema's search path; the caller ends them. */
export function openSql(databaseUrl: string, max = 2): postgres.Sql {
  return postgres(databaseUrl, {
    max,
    fetch_types: false,
    onnotice() {},
    connection: { application_name: "test", search_path: searchPath(testSchema) },
  });
}

/** What is wrong with the log: positions or offsets with gaps or duplicates, times that run backwards. Empty when nothing is. */
export async function logDefects(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ defect: string }[]>`
    select 'position ' || position || ' follows ' || coalesce(before::text, 'none') as defect
      from (select position, lag(position) over (order by position) as before from events) p
      where position <> coalesce(before, -1) + 1
    union all
    select 'offset ' || "offset" || ' of stream ' || stream_id || ' follows ' || coalesce(before::text, 'none')
      from (select stream_id, "offset", lag("offset") over (partition by stream_id order by position) as before from events) o
      where "offset" <> coalesce(before, -1) + 1
    union all
    select 'time of position ' || position || ' runs backwards'
      from (select position, recorded_at, lag(recorded_at) over (order by position) as before from events) t
      where recorded_at < before
    union all
    select 'bytes of stream ' || stream_id || ' at offset ' || "offset" || ' are ' || stream_bytes
      from (select stream_id, "offset", stream_bytes, sum(bytes) over (partition by stream_id order by position) as total from events) b
      where stream_bytes <> total`;
  return rows.map((row) => row.defect);
}
