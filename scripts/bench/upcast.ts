// Replays whose events are brought to other versions: by code of a module, and by an expression in the sandbox.
import { filledFolder } from "./fill.ts";
import { compare, inTurn } from "./pairs.ts";
import { root } from "./processes.ts";
import { type Service, startService } from "./service.ts";
import { maxEvents } from "./settings.ts";
import type { Table } from "./table.ts";
import { takeReplay } from "./take-replay.ts";

const measurement = "upcast";
const unit = "events/s";
const events = Math.min(500_000, maxEvents);
const beside = "the same events as they are stored";

export async function measureUpcast(table: Table): Promise<void> {
  const dataDir = await filledFolder(events);
  const inCode = await startService(dataDir, { MODULES: `${root}scripts/bench/upcast-module.ts` });
  const replay = (service: Service, schema: string) => async () => {
    const path = `/api/events?to=${events - 1}&schema=${schema}`;
    return events / (await takeReplay(service.url, path, events - 1)).seconds;
  };
  const coded = await inTurn(replay(inCode, "latest"), replay(inCode, "stored"));
  await inCode.discard();
  table.add({
    measurement,
    what: "replay through two upcasters in code",
    unit,
    beside,
    ...compare(
      coded,
      ([of]) => of,
      ([, by]) => by,
    ),
    aim: { of: "ratio", least: 0.5 },
  });

  const declared = await startService(await filledFolder(events));
  await register(declared.url, 1, { schema: {} });
  const expression = '$merge([$sift($, function($v, $k) { $k != "amount" }), {"amountCents": $round(amount * 100)}])';
  const upcast = { language: "jsonata", expression };
  await register(declared.url, 2, { schema: { type: "object", required: ["amountCents"] }, upcast });
  const evaluated = await inTurn(replay(declared, "latest"), replay(declared, "stored"));
  await declared.discard();
  table.add({
    measurement,
    what: "replay through an upcaster in JSONata",
    unit,
    beside,
    ...compare(
      evaluated,
      ([of]) => of,
      ([, by]) => by,
    ),
    aim: { of: "service", least: 20_000 },
  });
}

async function register(url: string, version: number, body: object): Promise<void> {
  const path = `${url}/api/schemas/OrderPlaced/versions/${version}`;
  const answer = await fetch(path, { method: "PUT", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`version ${version} cannot be registered: ${await answer.text()}`);
}
