// How long the service takes from its start on an existing data folder until it is ready.
import { sharedEvents, sharedFolder } from "./fill.ts";
import { inTurn, median } from "./pairs.ts";
import { startService } from "./service.ts";
import type { Table } from "./table.ts";

export async function measureStart(table: Table): Promise<void> {
  const dataDir = await sharedFolder();
  const started = await inTurn(async () => {
    const service = await startService(dataDir);
    await service.stop();
    return service.readyMs;
  });
  table.add({
    measurement: "start",
    what: `start on a data folder with ${sharedEvents.toLocaleString("en-US")} events until ready`,
    unit: "ms",
    service: median(started.map(([ms]) => ms)),
    aim: { of: "service", most: 2_000 },
  });
}
