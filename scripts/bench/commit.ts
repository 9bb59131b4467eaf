// Appends where a commit takes 4 ms, as on a disk or a replica that is far away, beside those on this machine's disk.
import { compare, inTurn } from "./pairs.ts";
import { connectTo, startService } from "./service.ts";
import { seconds } from "./settings.ts";
import { simulateCommit } from "./slow-commit.ts";
import type { Table } from "./table.ts";
import { append, type Load } from "./wrk.ts";

export async function measureCommit(table: Table): Promise<void> {
  const service = await startService();
  const sql = await connectTo(service.dataDir);
  for (const connections of [1, 64, 256, 1_024]) {
    const load = () => append(service.url, { connections, seconds });
    const measured = await inTurn(async (): Promise<Load> => {
      const restore = await simulateCommit(sql, "event_streaming.events");
      try {
        return await load();
      } finally {
        await restore();
      }
    }, load);
    table.add({
      measurement: "commit",
      what: `appends with a commit of 4 ms, ${connections.toLocaleString("en-US")} at once`,
      unit: "events/s",
      beside: "the same with this machine's commit",
      ...compare(
        measured,
        ([of]) => of.perSecond,
        ([, by]) => by.perSecond,
      ),
    });
  }
  await sql.end();
  await service.discard();
}
