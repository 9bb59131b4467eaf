// Keeps a copy of every row of the log that leaves the disk, so that the checks know the whole log, deleted events too.
import type postgres from "postgres";

/** To be called when the schema is there and nothing has been deleted yet. The copy is part of the purge's transaction. */
export async function keepPurgedRows(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create schema harness;
    create table harness.purged as select * from event_streaming.events with no data;
    create function harness.keep() returns trigger language plpgsql as $$
    begin
      insert into harness.purged select * from gone;
      return null;
    end $$;
    create trigger keep after delete on event_streaming.events
      referencing old table as gone for each statement execute function harness.keep();`);
}
