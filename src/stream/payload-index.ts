// The optional GIN index over payloads: makes sparse equality predicates (`$.orderId == "o-1"`) quick, and every append dearer.
import type { Log } from "../base/log.ts";
import { type Loop, startLoop } from "../base/loop.ts";
import type { Sql } from "../storage/pool.ts";

export type PayloadIndex = { stop: () => Promise<void> };

type Leaf = { leaf: string; state: "missing" | "invalid" };

const everyMs = 10_000;

/**
 * Gives every partition its index, also the ones that are added later; one at a time and without stopping appends.
 * `connect` opens a connection without a statement timeout: a large partition takes minutes.
 */
export function startPayloadIndex(connect: () => Sql, log: Log): PayloadIndex {
  const sql = connect();
  const loop: Loop = startLoop(
    "payload index",
    everyMs,
    async (signal) => {
      for (const { leaf, state } of await unindexed(sql)) {
        if (signal.aborted) return;
        const index = sql(`${leaf}_payload`);
        // What a broken-off CREATE INDEX CONCURRENTLY leaves behind is kept up to date, but never used.
        if (state === "invalid") await sql`drop index concurrently if exists ${index}`;
        await sql`create index concurrently if not exists ${index} on ${sql(leaf)} using gin ((data::jsonb) jsonb_path_ops)`.simple();
        log.info({ partition: leaf }, "payload index built");
      }
    },
    log,
  );
  return {
    async stop() {
      // A build under way is given up with its connection; the next start finds it invalid and begins again.
      await sql.end({ timeout: 0 }).catch(() => {});
      await loop.stop();
    },
  };
}

function unindexed(sql: Sql): Promise<Leaf[]> {
  return sql<Leaf[]>`
    select leaf.relname as leaf, case when index.oid is null then 'missing' else 'invalid' end as state
    from pg_class parent
    join pg_inherits i on i.inhparent = parent.oid
    join pg_class leaf on leaf.oid = i.inhrelid
    left join pg_class index on index.relname = leaf.relname || '_payload' and index.relnamespace = leaf.relnamespace
    left join pg_index x on x.indexrelid = index.oid
    where parent.relname in ('events_persistent', 'events_ephemeral') and parent.relnamespace = current_schema()::regnamespace
      and (index.oid is null or not x.indisvalid)
    order by leaf.relname`;
}
