// Makes every commit that stored something in a table wait 4 ms, with all of its locks held, as a slow disk would.
import type postgres from "postgres";

/**
 * A trigger of the statement notes the insert in a table of its own; the deferred trigger of that row sleeps when the
 * transaction commits. So it is one sleep a transaction, however many rows it stores. Returns how to undo it.
 */
export async function simulateCommit(sql: postgres.Sql, table: string): Promise<() => Promise<void>> {
  await sql.unsafe(`
    create schema slow_commit;
    create unlogged table slow_commit.commits (at timestamptz default clock_timestamp());
    create function slow_commit.wait() returns trigger language plpgsql as $$
      begin perform pg_sleep(0.004); return null; end $$;
    create constraint trigger wait after insert on slow_commit.commits
      deferrable initially deferred for each row execute function slow_commit.wait();
    create function slow_commit.note() returns trigger language plpgsql as $$
      begin insert into slow_commit.commits default values; return null; end $$;
    create trigger slow_commit after insert on ${table} for each statement execute function slow_commit.note();
  `);
  return async () => {
    await sql.unsafe(`drop trigger slow_commit on ${table}; drop schema slow_commit cascade`);
  };
}
