// Commands beside plain appends: one that emits an event, and one that is decided on a long stream.
import { compare, inTurn } from "./pairs.ts";
import { newFolder, root } from "./processes.ts";
import { startService } from "./service.ts";
import { seconds } from "./settings.ts";
import type { Table } from "./table.ts";
import { append, command } from "./wrk.ts";

const measurement = "commands";
const unit = "requests/s";
const connections = 256;
const deciderStreams = 200;
const eventsBefore = 1_000;
const order =
  '{"orderId":"o-1","customer":"someone","amount":120.5,"items":[{"sku":"abc","n":1},{"sku":"def","n":2}],"note":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}';
const counted = '{"id":"{id}","by":1}';

export async function measureCommands(table: Table): Promise<void> {
  const env = { MODULES: `${root}scripts/bench/process-module.ts` };
  const dataDir = newFolder("data");
  const service = await startService(dataDir, env);
  const { url } = service;
  const load = { connections, seconds };
  const event = `{"type":"Counted","data":{"by":1}}`;
  const array = `[${Array.from({ length: eventsBefore }, () => event).join(",")}]`;
  for (let id = 1; id <= deciderStreams; id++) await post(`${url}/api/streams/counter-${id}/events`, array);
  const measured = await inTurn(
    () => command(url, { ...load, name: "place-order", body: order }),
    () => append(url, load),
    () => command(url, { ...load, name: "count", body: counted, ids: deciderStreams }),
    () => command(url, { ...load, name: "count", body: counted, ids: 1 }),
  );
  const beside = "a plain append of one event";
  const rows = [
    ["a command that emits one event", 0, 0.7],
    [`a decider's command, ${deciderStreams} streams of ${eventsBefore.toLocaleString("en-US")} events`, 2, 0.4],
    ["a decider's command, all on one stream", 3, null],
  ] as const;
  for (const [what, column, least] of rows)
    table.add({
      measurement,
      what: `${what}, ${connections} connections`,
      unit,
      beside,
      ...compare(
        measured,
        (round) => round[column].perSecond,
        ([, by]) => by.perSecond,
      ),
      ...(least !== null && { aim: { of: "ratio", least } as const }),
    });
  await service.stop();

  // A process that has just started knows no state: each stream is read from its snapshot on.
  const fresh = await startService(dataDir, env);
  const started = performance.now();
  const ids = Array.from({ length: deciderStreams }, (_, n) => n + 1);
  const body = (id: number) => counted.replace("{id}", String(id));
  await Promise.all(ids.map((id) => post(`${fresh.url}/api/commands/count`, body(id))));
  const perSecond = deciderStreams / ((performance.now() - started) / 1_000);
  table.add({ measurement, what: "a decider's first command on each stream after a start", unit, service: perSecond });
  await fresh.discard();
}

async function post(url: string, body: string): Promise<void> {
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  if (!answer.ok) throw new Error(`${url}: ${await answer.text()}`);
}
