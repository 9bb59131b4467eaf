// The limit of the database: multi-row inserts into a log of the same schema, without HTTP and without log_append.
import type postgres from "postgres";
import { uuidv7 } from "../../src/base/ids.ts";
import { createLog } from "../../src/base/log.ts";
import { separator, textList } from "../../src/storage/lists.ts";
import { migrate } from "../../src/storage/migrate.ts";
import { connectTo } from "./service.ts";
import { seconds } from "./settings.ts";

export type RawInsert = {
  /** Events a second, with as many connections as were found to be best. */
  measure: () => Promise<number>;
  connections: () => number;
  stop: () => Promise<void>;
};

const schema = "raw_insert";
const partitionSize = 4_000_000;
const batch = 1_000;
const mostConnections = 8;
/** Positions that stand ready for each second; no machine with this bench's aims inserts more. */
const perSecondAtMost = 500_000;

const type = "OrderPlaced";
const attributes = '{"source":"/sluice/streams/orders"}';
const data =
  '{"orderId":"o-1","customer":"someone","amount":120.5,"items":[{"sku":"abc","n":1},{"sku":"def","n":2}],"note":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}';
const bytes = 36 + type.length + attributes.length + data.length;

/** Makes the log in the Postgres of a running service, and finds the best number of connections. */
export async function createRawInsert(dataDir: string): Promise<RawInsert> {
  const sql = await connectTo(dataDir, { schema });
  await migrate(sql, { schema, log: createLog("silent", "bench") });
  const pools = await Promise.all(Array.from({ length: mostConnections }, () => connectTo(dataDir, { schema })));
  const lists = { types: repeat(type), attributes: repeat(attributes), data: repeat(data) };
  const inserted = pools.map(() => 0);
  let position = 0;
  let room = 0;

  async function insert(pool: postgres.Sql, connection: number): Promise<void> {
    const base = position;
    position += batch;
    const offset = inserted[connection] as number;
    inserted[connection] = offset + batch;
    const ids = textList(Array.from({ length: batch }, () => uuidv7()));
    await pool`
      insert into events (position, stream_id, "offset", stream_bytes, recorded_at, schema_version, bytes, ephemeral, id,
                          type, correlation_id, partition_key, attributes, data, data_binary)
      select ${base}::bigint + u.n - 1, ${connection + 10}::bigint, ${offset}::bigint + u.n - 1,
             (${offset}::bigint + u.n) * ${bytes}::bigint, clock_timestamp(), 1, ${bytes}::int, false, u.id, u.type, null,
             null, u.attributes::json, u.data::json, null
      from unnest(string_to_array(${ids}, ${separator}), string_to_array(${lists.types}, ${separator}),
                  string_to_array(${lists.attributes}, ${separator}), string_to_array(${lists.data}, ${separator}))
        with ordinality u(id, type, attributes, data, n)`;
  }

  async function run(connections: number, forSeconds: number): Promise<number> {
    while (room < position + perSecondAtMost * forSeconds) {
      const rows = await sql<{ upper: string }[]>`select log_partition_add(false, ${partitionSize}) as upper`;
      room = Number(rows[0]?.upper);
    }
    const before = position;
    const started = performance.now();
    await Promise.all(
      pools.slice(0, connections).map(async (pool, i) => {
        while (performance.now() - started < forSeconds * 1_000) await insert(pool, i);
      }),
    );
    return (position - before) / ((performance.now() - started) / 1_000);
  }

  let best = 1;
  let most = 0;
  for (const connections of [1, 2, 4, 8]) {
    await run(connections, 0.5);
    const perSecond = await run(connections, Math.min(2, seconds));
    if (perSecond > most) [best, most] = [connections, perSecond];
  }
  return {
    measure: () => run(best, seconds),
    connections: () => best,
    async stop() {
      await Promise.all([sql, ...pools].map((pool) => pool.end({ timeout: 5 })));
    },
  };
}

function repeat(text: string): string {
  return textList(Array.from({ length: batch }, () => text)) as string;
}
