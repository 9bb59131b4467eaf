// Memory of the service that idle event streams take.
import { inTurn, median } from "./pairs.ts";
import { openReaders } from "./receive.ts";
import { startService } from "./service.ts";
import { maxConnections, seconds } from "./settings.ts";
import type { Table } from "./table.ts";

const path = "/api/streams/orders/events";
/** Until what opening them left behind is collected, and some heartbeats have been sent. */
const settleMs = seconds * 5_000;

export async function measureMemory(table: Table): Promise<void> {
  const connections = Math.min(10_000, maxConnections);
  const measured = await inTurn(async () => {
    const service = await startService();
    // What is compiled at first use belongs to no connection.
    await (await openReaders(service.url, path, 100)).stop();
    await Bun.sleep(2_000);
    const before = await residentBytes(service.url);
    const readers = await openReaders(service.url, path, connections);
    await Bun.sleep(settleMs);
    await readers.next();
    const after = await residentBytes(service.url);
    await readers.stop();
    await service.discard();
    return { before, after };
  });
  const count = connections.toLocaleString("en-US");
  table.add({
    measurement: "memory",
    what: `memory of an idle event stream, of ${count}`,
    unit: "KB",
    service: median(measured.map(([{ before, after }]) => (after - before) / connections / 1_000)),
    aim: { of: "service", most: 12 },
  });
  table.add({
    measurement: "memory",
    what: `memory of the service with ${count} idle event streams`,
    unit: "MB",
    beside: "without",
    service: median(measured.map(([{ after }]) => after / 1e6)),
    yardstick: median(measured.map(([{ before }]) => before / 1e6)),
  });
}

async function residentBytes(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^sluice_process_resident_memory_bytes\S* (\S+)$/m.exec(text)?.[1]);
}
