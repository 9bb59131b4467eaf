// Fills a log with events by SQL: what the service would have stored, without the time that it would take.
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { startEmbedded } from "../../src/storage/embedded.ts";
import { migrate } from "../../src/storage/migrate.ts";
import { newFolder, stopWithTheRest } from "./processes.ts";
import { connectTo, serviceSchema } from "./service.ts";
import { maxEvents } from "./settings.ts";

const streams = 1_000;
const connections = 2;
const mostInStatement = 200_000;

const type = "OrderPlaced";
// Of equal length, whatever the numbers in them: a stream's sum of bytes is then its offset times that.
const source = "/sluice/streams/filled-";
const dataHead = '{"orderId":"o-';
const dataTail =
  '","customer":"someone","amount":120.5,"items":[{"sku":"abc","n":1},{"sku":"def","n":2}],"note":"xxxxxxxxxxxxxxxxxx"}';
const bytes = 36 + type.length + `{"source":"${source}0000"}`.length + dataHead.length + 10 + dataTail.length;

/** A data folder with so many events in 1,000 streams, in partitions of this size. */
export async function filledFolder(events: number, partitionSize?: number): Promise<string> {
  const dataDir = newFolder("filled");
  await fill(dataDir, events, partitionSize);
  return dataDir;
}

let oneMillion: Promise<string> | null = null;

/** The data folder, of a million events if so many are allowed, that several measurements share. */
export function sharedFolder(): Promise<string> {
  oneMillion ??= filledFolder(sharedEvents);
  return oneMillion;
}

export const sharedEvents = Math.min(1_000_000, maxEvents);

/**
 * Fills the log of a data folder on which no service runs until its 1,000 filled streams hold `events`, a multiple of
 * 1,000. What else the log holds stays, and lies before or between.
 */
export async function fill(dataDir: string, events: number, partitionSize = 4_000_000): Promise<void> {
  const log = createLog("silent", "bench");
  const embedded = await startEmbedded({ dataDir, log });
  const stop = stopWithTheRest(() => embedded.stop());
  const sql = await connectTo(dataDir, { connections });
  try {
    await migrate(sql, { schema: serviceSchema, log });
    const firstId = await makeStreams(sql);
    const perStream = await numberOf(sql`select last_offset + 1 as n from stream_heads where id = ${firstId}`);
    const filled = perStream * streams;
    const first = (await numberOf(sql`select coalesce(max(position), -1) as n from events`)) + 1;
    await addPartitions(sql, first + events - filled, partitionSize);
    let next = filled;
    const fillOn = async () => {
      while (next < events) {
        const from = next;
        next = Math.min(next + mostInStatement, events);
        await insert(sql, firstId, from, next, first + from - filled);
      }
    };
    await Promise.all(Array.from({ length: connections }, fillOn));
    await settle(sql, first + events - filled - 1);
  } finally {
    await sql.end();
    await stop();
  }
}

/** Makes the streams unless an earlier fill has; their ids follow one another. Returns the first. */
async function makeStreams(sql: postgres.Sql): Promise<number> {
  await sql`
    insert into streams (name, created_at)
    select 'filled-' || lpad(n::text, 4, '0'), clock_timestamp() from generate_series(0, ${streams - 1}::int) n
    where not exists (select from streams where name = 'filled-0000') order by n`;
  const first = await numberOf(sql`select id as n from streams where name = 'filled-0000'`);
  const last = await numberOf(
    sql`select id as n from streams where name = ${`filled-${String(streams - 1).padStart(4, "0")}`}`,
  );
  if (last - first !== streams - 1) throw new Error("the filled streams do not follow one another");
  return first;
}

async function addPartitions(sql: postgres.Sql, upTo: number, size: number): Promise<void> {
  let end = await numberOf(sql`select log_partition_end(false) as n`);
  while (end < upTo) end = await numberOf(sql`select log_partition_add(false, ${size}) as n`);
}

/** Inserts the filled events of these numbers at a position: one to each stream in turn, recorded now. */
async function insert(sql: postgres.Sql, firstId: number, from: number, to: number, position: number): Promise<void> {
  // Taken here, in the order of the positions: along them the time never runs backwards.
  const recorded = new Date();
  await sql`
    insert into events (position, stream_id, "offset", stream_bytes, recorded_at, schema_version, bytes, ephemeral, id,
                        type, attributes, data)
    select ${position - from}::bigint + n, ${firstId}::bigint + n % ${streams}::bigint, n / ${streams}::bigint,
           (n / ${streams}::bigint + 1) * ${bytes}::bigint, ${recorded}, 1, ${bytes}::int, false, uuidv7()::text, ${type},
           ('{"source":"' || ${source}::text || lpad((n % ${streams}::bigint)::text, 4, '0') || '"}')::json,
           (${dataHead}::text || lpad(n::text, 10, '0') || ${dataTail}::text)::json
    from generate_series(${from}::bigint, ${to - 1}::bigint) n`;
}

/** Does now what the service and Postgres would otherwise do in the background while the next thing is measured. */
async function settle(sql: postgres.Sql, head: number): Promise<void> {
  for (const span of [1_000_000, 100_000]) {
    for (let more = true; more; ) {
      const rows = await sql<{ more: boolean }[]>`select log_checkpoint(${head}, ${span}) as more`;
      more = rows[0]?.more === true;
    }
  }
  await sql`vacuum (analyze) events`;
  await sql`vacuum (analyze) streams`;
  await sql`checkpoint`;
}

async function numberOf(rows: PromiseLike<postgres.RowList<postgres.Row[]>>): Promise<number> {
  return Number((await rows)[0]?.n);
}
