// Those who share the database: rows of the outbox in transactions of their own, with a table of theirs that tells what was committed.
import { setTimeout as sleep } from "node:timers/promises";
import type postgres from "postgres";
import type { Cluster } from "./cluster.ts";
import type { History } from "./history.ts";
import type { OutboxWritten, WrittenRow } from "./process-history.ts";
import type { Random } from "./random.ts";

export type OutboxWritersOptions = { cluster: Cluster; history: History; random: Random; stop: AbortSignal };

const writers = 3;
const streams = ["outbox-0", "outbox-1", "outbox-2"] as const;
// Postgres answers at once or is away.
const patienceMs = 5_000;

/** To be called before the writers begin. */
export async function createWrittenTable(sql: postgres.Sql): Promise<void> {
  await sql.unsafe("create schema harness; create table harness.written (mark text not null)");
}

/** Resolves when each has ended its last transaction. */
export async function runOutboxWriters({ cluster, history, random, stop }: OutboxWritersOptions): Promise<void> {
  let tx = 0;

  async function run(writer: string): Promise<void> {
    const own = random.fork(writer);
    let sql = cluster.connect();
    const earlier: WrittenRow[] = [];
    for (let n = 0; !stop.aborted; n++) {
      const number = tx++;
      const rows: WrittenRow[] = Array.from({ length: own.between(1, 5) }, (_, i) => ({
        ...{ mark: `${writer}-${n}/${i}`, stream: own.pick(streams), isDoomed: own.chance(0.02) },
      }));
      // The same row once more is the same event, by its id.
      if (earlier.length > 0 && own.chance(0.1)) rows.push(own.pick(earlier));
      const rollsBack = own.chance(0.15);
      const rests = rows.map(() => (own.chance(0.1) ? own.between(1, 40) : 0));
      history.add({ kind: "outbox-writing", tx: number, at: history.now(), writer, rows });
      const outcome = await inTime(write(sql, rows, rests, rollsBack)).catch(() => "unknown" as const);
      history.add({ kind: "outbox-written", tx: number, at: history.now(), outcome });
      if (outcome === "committed") earlier.push(...rows.filter(({ isDoomed }) => !isDoomed));
      if (outcome === "unknown") {
        await sql.end({ timeout: 0 }).catch(() => {});
        sql = cluster.connect();
        await sleep(own.between(50, 200));
      }
      await sleep(own.between(1, 50));
    }
    await sql.end({ timeout: 1 }).catch(() => {});
  }

  await Promise.all(Array.from({ length: writers }, (_, i) => run(`writer-${i}`)));
}

class RolledBack extends Error {}

async function write(
  sql: postgres.Sql,
  rows: readonly WrittenRow[],
  rests: readonly number[],
  rollsBack: boolean,
): Promise<OutboxWritten["outcome"]> {
  try {
    await sql.begin(async (own) => {
      for (const [i, { mark, stream, isDoomed }] of rows.entries()) {
        // No attribute has a capital letter.
        const attributes = isDoomed ? '{"Tenant": "acme"}' : "{}";
        await own`
          insert into event_streaming.outbox (stream, type, data, event_id, attributes)
          values (${stream}, 'Written', ${JSON.stringify({ mark })}::text::json, ${mark}, ${attributes}::text::jsonb)`;
        await own`insert into harness.written values (${mark})`;
        if (rests[i]) await sleep(rests[i]);
      }
      if (rollsBack) throw new RolledBack();
    });
    return "committed";
  } catch (error) {
    if (error instanceof RolledBack) return "rolled-back";
    throw error;
  }
}

async function inTime<T>(task: Promise<T>): Promise<T> {
  const over = new AbortController();
  task.catch(() => {});
  const late = sleep(patienceMs, undefined, { signal: over.signal }).then(() => {
    throw new Error("no answer");
  });
  late.catch(() => {});
  try {
    return await Promise.race([task, late]);
  } finally {
    over.abort();
  }
}
