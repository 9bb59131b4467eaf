// Reading history: a replay of the whole log beside COPY of the same columns, and single pages.
import { copyOut } from "./copy-out.ts";
import { sharedEvents, sharedFolder } from "./fill.ts";
import { compare, inTurn, median } from "./pairs.ts";
import { serviceSchema, socketOf, startService } from "./service.ts";
import { seconds } from "./settings.ts";
import type { Table } from "./table.ts";
import { takeReplay } from "./take-replay.ts";
import { get } from "./wrk.ts";

const measurement = "replay";
const copyQuery = `copy (
  select e.position, s.name, e."offset", e.recorded_at, e.id, e.type, e.schema_version, e.correlation_id, e.partition_key,
         e.attributes, e.data, e.data_binary
  from events e join streams s on s.id = e.stream_id where e.position < ${sharedEvents} order by e.position
) to stdout`;

export async function measureReplay(table: Table): Promise<void> {
  const service = await startService(await sharedFolder());
  const socket = await socketOf(service.dataDir);
  const measured = await inTurn(
    () => takeReplay(service.url, `/api/events?to=${sharedEvents - 1}`, sharedEvents - 1),
    () => copyOut(socket, serviceSchema, copyQuery),
  );
  const events = sharedEvents.toLocaleString("en-US");
  table.add({
    measurement,
    what: `replay of ${events} events as NDJSON`,
    unit: "events/s",
    beside: "COPY … TO STDOUT of the same columns",
    ...compare(
      measured,
      ([of]) => sharedEvents / of.seconds,
      ([, by]) => sharedEvents / by.seconds,
    ),
    aim: { of: "ratio", least: 0.3 },
  });
  table.add({
    measurement,
    what: "the same in bytes",
    unit: "MB/s",
    beside: "COPY … TO STDOUT of the same columns",
    ...compare(
      measured,
      ([of]) => of.bytes / of.seconds / 1e6,
      ([, by]) => by.bytes / by.seconds / 1e6,
    ),
  });
  const from = Math.floor(sharedEvents / 2);
  for (const { limit, connections } of [
    { limit: 500, connections: 1 },
    { limit: 100, connections: 10 },
  ]) {
    const url = `${service.url}/api/events?from=${from}&limit=${limit}`;
    const pages = await inTurn(() => get(url, { connections, seconds }));
    const what = connections === 1 ? `a page of ${limit}` : `${connections} concurrent pages of ${limit}`;
    table.add({ measurement, what, unit: "pages/s", service: median(pages.map(([of]) => of.perSecond)) });
    table.add({ measurement, what: `${what}, p50`, unit: "ms", service: median(pages.map(([of]) => of.p50Ms)) });
  }
  await service.stop();
}
