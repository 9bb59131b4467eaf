// The command line: runs the measurements that were named, or all, one after the other, and prints the table.
import { measureAppends } from "./appends.ts";
import { measureArrays } from "./arrays.ts";
import { measureBridge } from "./bridge.ts";
import { measureCommands } from "./commands.ts";
import { measureCommit } from "./commit.ts";
import { measureFanOut } from "./fan-out.ts";
import { measureGrowth } from "./growth.ts";
import { measureLatency } from "./latency.ts";
import { measureMemory } from "./memory.ts";
import { measurePeers } from "./peers.ts";
import { endEverything, endPrograms } from "./processes.ts";
import { measureProjections } from "./projections.ts";
import { measureBacklog } from "./queue-backlog.ts";
import { measureDrain } from "./queue-drain.ts";
import { measureEnqueue } from "./queue-enqueue.ts";
import { measureGroups } from "./queue-groups.ts";
import { measureQueueLatency } from "./queue-latency.ts";
import { measureSingles } from "./queue-singles.ts";
import { measureQueueTransaction } from "./queue-transaction.ts";
import { measureReplay } from "./replay.ts";
import { measureSagas } from "./sagas.ts";
import { measureStart } from "./start.ts";
import { createTable, type Table } from "./table.ts";
import { measureTransaction } from "./transaction.ts";
import { measureUpcast } from "./upcast.ts";

const measurements: Record<string, (table: Table) => Promise<void>> = {
  appends: measureAppends,
  arrays: measureArrays,
  peers: measurePeers,
  commit: measureCommit,
  transaction: measureTransaction,
  "fan-out": measureFanOut,
  latency: measureLatency,
  memory: measureMemory,
  replay: measureReplay,
  upcast: measureUpcast,
  commands: measureCommands,
  sagas: measureSagas,
  start: measureStart,
  growth: measureGrowth,
  enqueue: measureEnqueue,
  drain: measureDrain,
  singles: measureSingles,
  delivery: measureQueueLatency,
  backlog: measureBacklog,
  "queue-transaction": measureQueueTransaction,
  groups: measureGroups,
  projections: measureProjections,
  bridge: measureBridge,
};

const named = process.argv.slice(2);
const unknown = named.find((name) => measurements[name] === undefined);
if (unknown !== undefined) {
  console.error(`unknown measurement ${unknown}; there are: ${Object.keys(measurements).join(" ")}`);
  process.exit(2);
}

let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (interrupted) return;
    interrupted = true;
    void endEverything().finally(() => process.exit(130));
  });
}

const table = createTable();
const out = process.env.BENCH_OUT;
let failed = false;
for (const name of named.length > 0 ? named : Object.keys(measurements)) {
  try {
    await measurements[name]?.(table);
  } catch (error) {
    if (interrupted) await new Promise(() => {});
    failed = true;
    table.note(name, `failed: ${error instanceof Error ? error.message : error}`);
    // What it left running would disturb the next.
    await endPrograms();
  }
  if (out !== undefined) await table.write(out);
}
await endEverything();
process.exit(failed ? 1 : 0);
