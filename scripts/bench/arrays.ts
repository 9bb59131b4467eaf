// Appends of arrays over HTTP, beside the limit of the database.
import { compare, inTurn, median } from "./pairs.ts";
import { createRawInsert } from "./raw-insert.ts";
import { startService } from "./service.ts";
import { seconds } from "./settings.ts";
import type { Table } from "./table.ts";
import { append } from "./wrk.ts";

const measurement = "arrays";
/** The service keeps two batches on their way; further requests make sure that it never waits for the next. */
const connections = 4;

export async function measureArrays(table: Table): Promise<void> {
  const service = await startService();
  const raw = await createRawInsert(service.dataDir);
  const beside = `multi-row insert of 1,000, ${raw.connections()} connections`;
  const single = await inTurn(() => append(service.url, { connections: 256, seconds }), raw.measure);
  table.add({
    measurement,
    what: "appends, one event a request, 256 connections",
    unit: "events/s",
    beside,
    ...compare(
      single,
      ([of]) => of.perSecond,
      ([, by]) => by,
    ),
  });
  for (const array of [100, 1_000]) {
    const measured = await inTurn(
      () => append(service.url, { connections, seconds, array }),
      raw.measure,
      () => append(service.url, { connections: 1, seconds, array }),
    );
    const events = array.toLocaleString("en-US");
    table.add({
      measurement,
      what: `appends, arrays of ${events}, ${connections} connections`,
      unit: "events/s",
      beside,
      ...compare(
        measured,
        ([of]) => of.perSecond * array,
        ([, by]) => by,
      ),
      ...(array === 1_000 && { aim: { of: "ratio", least: 0.5 } as const }),
    });
    table.add({
      measurement,
      what: `p50 of an array of ${events}, 1 connection`,
      unit: "ms",
      service: median(measured.map(([, , of]) => of.p50Ms)),
      ...(array === 1_000 && { aim: { of: "service", most: 20 } as const }),
    });
  }
  await raw.stop();
  await service.discard();
}
