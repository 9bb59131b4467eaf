// Single appends over HTTP, beside peers that append in process to the same Postgres, with any commit and with a slow one.
import { existsSync } from "node:fs";
import { makeManyStreams } from "./many-streams.ts";
import { compare, inTurn } from "./pairs.ts";
import { outputOf, program, root } from "./processes.ts";
import { connectTo, type Service, socketOf, startService } from "./service.ts";
import { manyStreams, seconds } from "./settings.ts";
import { simulateCommit } from "./slow-commit.ts";
import type { Table } from "./table.ts";
import { append } from "./wrk.ts";

type Peer = { name: string; file: string; database: string; table: string; least?: number };

const measurement = "peers";
const callers = 256;
const peers: Peer[] = [
  { name: "emmett-postgresql", file: "emmett.js", database: "emmett", table: "public.emt_messages", least: 6 },
  { name: "message-db", file: "message-db.js", database: "message_store", table: "message_store.messages" },
];

/** Whether the peers' packages could be installed; the script does that. */
export const peersInstalled = existsSync(`${root}scripts/bench/peers/node_modules`);

export async function measurePeers(table: Table): Promise<void> {
  if (!peersInstalled) {
    table.note(measurement, "left out: their packages could not be installed");
    return;
  }
  const service = await startService();
  await makeManyStreams(service);
  for (const peer of peers) await measurePeer(table, service, peer);
  await service.discard();
}

async function measurePeer(table: Table, service: Service, peer: Peer): Promise<void> {
  const { name, database, least } = peer;
  const admin = await connectTo(service.dataDir, { database: "postgres" });
  await admin.unsafe(`create database ${database}`);
  await admin.end();
  await run(service, peer, { prepareOnly: true });
  const connections = await bestConnections(service, peer);
  const beside = `${name}, in process, ${callers} callers, ${connections} connections`;
  const load = () => append(service.url, { connections: callers, seconds, streams: manyStreams });
  const peerLoad = () => run(service, peer, { connections, seconds });
  table.add({
    measurement,
    what: `appends, one event a request, ${callers} connections, ${manyStreams.toLocaleString("en-US")} streams`,
    unit: "events/s",
    beside,
    ...compare(
      await inTurn(load, peerLoad),
      ([of]) => of.perSecond,
      ([, by]) => by,
    ),
    ...(least !== undefined && { aim: { of: "ratio", least } as const }),
  });
  const own = await connectTo(service.dataDir);
  const theirs = await connectTo(service.dataDir, { database });
  const restore = [await simulateCommit(own, "event_streaming.events"), await simulateCommit(theirs, peer.table)];
  const slowConnections = await bestConnections(service, peer);
  table.add({
    measurement,
    what: "the same with a commit of 4 ms",
    unit: "events/s",
    beside: `${name}, with that commit too, ${slowConnections} connections`,
    ...compare(
      await inTurn(load, () => run(service, peer, { connections: slowConnections, seconds })),
      ([of]) => of.perSecond,
      ([, by]) => by,
    ),
  });
  for (const undo of restore) await undo();
  await own.end();
  await theirs.end();
}

/** Of its pool's default size and larger ones, the best. */
async function bestConnections(service: Service, peer: Peer): Promise<number> {
  let best = 0;
  let most = 0;
  for (const connections of [10, 20, 40, 75]) {
    const perSecond = await run(service, peer, { connections, seconds: Math.min(seconds, 2) });
    if (perSecond > most) [best, most] = [connections, perSecond];
  }
  return best;
}

async function run(
  service: Service,
  { file, database }: Peer,
  options: { connections?: number; seconds?: number; prepareOnly?: true },
): Promise<number> {
  const socket = await socketOf(service.dataDir);
  const given = { ...socket, database, callers, streams: manyStreams, connections: 2, ...options };
  const output = await outputOf(program(`peers/${file}`, JSON.stringify(given)));
  return options.prepareOnly
    ? 0
    : (JSON.parse(output.trim().split("\n").at(-1) ?? "{}") as { perSecond: number }).perSecond;
}
