// Appends of single events over HTTP, beside a bare route that validates the same body and stores nothing.
import { makeManyStreams } from "./many-streams.ts";
import { compare, inTurn, median } from "./pairs.ts";
import { program, startServer } from "./processes.ts";
import { startService } from "./service.ts";
import { manyStreams, seconds } from "./settings.ts";
import type { Table } from "./table.ts";
import { append, type Load } from "./wrk.ts";

const measurement = "appends";

export async function measureAppends(table: Table): Promise<void> {
  const service = await startService();
  const bare = await startServer(program("bare-route.ts"));
  const beside = "bare Elysia route";
  const alone: Load[] = [];
  for (const connections of [1, 64, 256, 1_024]) {
    const load = { connections, seconds };
    const measured = await inTurn(
      () => append(service.url, load),
      () => append(bare.url, load),
    );
    if (connections === 1) alone.push(...measured.map(([of]) => of));
    table.add({
      measurement,
      what: `appends, one event a request, ${count(connections)}`,
      unit: "events/s",
      beside,
      ...compare(
        measured,
        ([of]) => of.perSecond,
        ([, by]) => by.perSecond,
      ),
      ...(connections === 256 && { aim: { of: "ratio", least: 0.4 } as const }),
    });
  }
  await makeManyStreams(service);
  const many = { connections: 256, seconds, streams: manyStreams };
  table.add({
    measurement,
    what: `appends, one event a request, ${count(256)}, ${manyStreams.toLocaleString("en-US")} streams`,
    unit: "events/s",
    beside,
    ...compare(
      await inTurn(
        () => append(service.url, many),
        () => append(bare.url, many),
      ),
      ([of]) => of.perSecond,
      ([, by]) => by.perSecond,
    ),
  });
  const measured = await inTurn(
    () => append(service.url, { connections: 64, seconds }),
    () => append(service.url, { connections: 1, seconds }),
  );
  table.add({
    measurement,
    what: `p99 of an append, ${count(64)}`,
    unit: "ms",
    beside: "p50 of one append alone",
    ...compare(
      measured,
      ([of]) => of.p99Ms,
      ([, by]) => by.p50Ms,
    ),
    aim: { of: "ratio", most: 20 },
  });
  table.add({ measurement, what: "p99 of an append alone", unit: "ms", service: median(alone.map((of) => of.p99Ms)) });
  await bare.stop();
  await service.discard();
}

function count(connections: number): string {
  return `${connections.toLocaleString("en-US")} connection${connections === 1 ? "" : "s"}`;
}
