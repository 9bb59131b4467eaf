// Appends to logs of growing size, and to one of 100 partitions, beside the same appends to an empty log.
import { fill, filledFolder } from "./fill.ts";
import { makeManyStreams } from "./many-streams.ts";
import { compare, inTurn } from "./pairs.ts";
import { newFolder, removeFolder } from "./processes.ts";
import { connectTo, type Service, startService } from "./service.ts";
import { manyStreams, maxEvents, seconds } from "./settings.ts";
import type { Table } from "./table.ts";
import { append } from "./wrk.ts";

const measurement = "growth";
const full = 20_000_000;
const connectionCounts = [64, 256];

export async function measureGrowth(table: Table): Promise<void> {
  const empty = emptyLogs();
  const sizes = [1_000_000, 5_000_000, full].filter((size) => size <= maxEvents);
  const dataDir = newFolder("growing");
  for (const size of sizes.length > 0 ? sizes : [maxEvents]) {
    await fill(dataDir, size);
    await measure(table, dataDir, empty, `${size.toLocaleString("en-US")} events`, size === full);
  }
  await removeFolder(dataDir);

  // The partitions to come are of the usual size: what is measured is how many there are, not how often one is added.
  const events = Math.min(1_000_000, maxEvents);
  const partitioned = await filledFolder(events, events / 100);
  await measure(table, partitioned, empty, `${events.toLocaleString("en-US")} events in 100 partitions`, false);
  await removeFolder(partitioned);
  await removeFolder(empty.dataDir);
}

async function measure(table: Table, dataDir: string, empty: EmptyLogs, log: string, hasAim: boolean): Promise<void> {
  // Both are started anew for each round, so that neither has run longer than the other.
  const measured = await inTurn(
    async () => appendBoth(await startService(dataDir)),
    async () => {
      const service = await empty.start();
      return appendBoth(service, empty.schema());
    },
  );
  for (const [i, connections] of connectionCounts.entries()) {
    table.add({
      measurement,
      what: `appends, ${connections} connections, ${log}`,
      unit: "events/s",
      beside: "an empty log",
      ...compare(
        measured,
        ([of]) => of[i] as number,
        ([, by]) => by[i] as number,
      ),
      ...(hasAim && { aim: { of: "ratio", least: 0.9 } as const }),
    });
  }
}

async function appendBoth(service: Service, schema?: string): Promise<number[]> {
  await makeManyStreams(service, schema);
  const rates: number[] = [];
  for (const connections of connectionCounts) {
    rates.push((await append(service.url, { connections, seconds, streams: manyStreams })).perSecond);
  }
  await service.stop();
  return rates;
}

type EmptyLogs = { dataDir: string; schema: () => string; start: () => Promise<Service> };

/** Services on a data folder of their own, each with an empty log: a new schema, in place of the last one. */
function emptyLogs(): EmptyLogs {
  const dataDir = newFolder("empty");
  let made = 0;
  const schema = () => `empty_${made}`;
  return {
    dataDir,
    schema,
    async start() {
      made++;
      const service = await startService(dataDir, { DATABASE_SCHEMA: schema() });
      const sql = await connectTo(dataDir);
      await sql.unsafe(`drop schema if exists empty_${made - 1} cascade`);
      await sql`checkpoint`;
      await sql.end();
      return service;
    },
  };
}
