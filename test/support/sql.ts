// SQL beside a service: looks at its database, and holds the log's invariants against it.
import postgres from "postgres";
import { searchPath } from "../../src/storage/migrate.ts";
import type { Pool } from "../../src/storage/pool.ts";
import { defaultNaming } from "../../src/stream/cross-service/names.ts";
import { parseConfiguration } from "../../src/stream/stream-configuration.ts";
import { configureStream } from "../../src/stream/streams.ts";
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

/** Configures a stream as PUT does, without the service. */
export async function configure(sql: postgres.Sql, name: string, body: Record<string, unknown> = {}): Promise<boolean> {
  const pool: Pool = { run: (task) => task(sql), stop: async () => {} };
  return configureStream(pool, name, parseConfiguration(body), defaultNaming("sluice"));
}

/**
 * What is wrong with the log: positions or offsets with gaps or duplicates, times that run backwards, sums of bytes that
 * are none. Empty when nothing is. Of what was removed, rows may be missing: no more than that, and none that is visible.
 */
export async function logDefects(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ defect: string }[]>`
    select 'position ' || position || ' is there twice' as defect from events group by position having count(*) > 1
    union all
    select missing || ' positions are missing, and ' || removed || ' events were removed'
      from (select coalesce(max(position), -1) + 1 - count(*) as missing from events) p,
           (select coalesce(sum(first_offset), 0) as removed from streams) r
      where missing > removed
    union all
    select 'offset ' || "offset" || ' of stream ' || stream_id || ' follows ' || before
      from (select e.stream_id, e."offset", s.first_offset,
                   coalesce(lag(e."offset") over (partition by e.stream_id order by e.position), s.first_offset - 1) as before
            from events e join streams s on s.id = e.stream_id where e."offset" >= s.first_offset) o
      where "offset" <> before + 1
    union all
    select 'stream ' || name || ' ends at ' || last_offset || ', and its last event is ' || coalesce(found::text, 'none')
      from (select h.name, h.first_offset, h.last_offset, max(e."offset") as found
            from stream_heads h left join events e on e.stream_id = h.id and e."offset" >= h.first_offset
            group by h.name, h.first_offset, h.last_offset) h
      where last_offset <> coalesce(found, first_offset - 1)
    union all
    select 'time of position ' || position || ' runs backwards'
      from (select position, recorded_at, lag(recorded_at) over (order by position) as before from events) t
      where recorded_at < before
    union all
    select 'bytes of stream ' || stream_id || ' at offset ' || "offset" || ' are ' || stream_bytes
      from (select e.stream_id, e."offset", e.stream_bytes,
                   s.first_bytes + sum(e.bytes) over (partition by e.stream_id order by e.position) as total
            from events e join streams s on s.id = e.stream_id where e."offset" >= s.first_offset) b
      where stream_bytes <> total
    union all
    select 'event ' || e."offset" || ' of stream ' || s.name || ' is in the wrong family'
      from events e join streams s on s.id = e.stream_id where e."offset" >= s.first_offset and e.ephemeral <> s.ephemeral`;
  return rows.map((row) => row.defect);
}
