// What a process cannot upcast for now: events are given back or marked, never lost, and never dead for somebody else's sake.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { append, expectProblem, send } from "../support/client.ts";
import { claim, offsets, post, put, subscription } from "../support/consume.ts";
import { jsonata, preview, registerVersions } from "../support/registry.ts";
import { type Service, startService } from "../support/service.ts";

const root = new URL("../../", import.meta.url).pathname;
/** Fails within the processor time of an evaluation where `n` is large. */
const costly = jsonata('{"n": n, "x": $length($pad("x", n))}');
const hostile = { n: 2_000_000_000 };

let folder: string;
let service: Service;
let url: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-unavailable-"));
  const file = join(folder, "module.ts");
  await writeFile(
    file,
    `import { defineEvent, defineModule, Type } from ${JSON.stringify(`${root}src/workflow/index.ts`)};
     const Coded = defineEvent("Coded", Type.Object({ n: Type.Number() }))
       .version(Type.Object({ m: Type.Number() }), { upcast: ({ n }) => ({ m: n }) });
     export default defineModule({ name: "coded", events: [Coded] });`,
  );
  service = await startService({ MODULES: file });
  url = service.url;
});
afterAll(async () => {
  await service.stop();
  await rm(folder, { recursive: true });
});

const lettersOf = async (name: string) =>
  (await send<{ deadLetters: { event: { data: unknown } }[] }>(`${url}/api/subscriptions/${name}/dead-letters`)).body
    .deadLetters;

test("an at-most-once subscription loses nothing in a process that lacks the code of an upcaster", async () => {
  const other = await startService({ DATABASE_URL: service.databaseUrl });
  try {
    await append(
      url,
      "coded",
      Array.from({ length: 50 }, (_, n) => ({ type: "Coded", data: { n } })),
    );
    const once = {
      stream: "coded",
      mode: "exclusive",
      from: "beginning",
      receiveAs: "latest",
      delivery: "at-most-once",
    };
    await put(`${url}/api/subscriptions/once`, once);
    const there = await claim(subscription(other.url, "once"), { max: 20 });
    const here = await claim(subscription(url, "once"), { max: 50 });
    expect([...offsets(there), ...offsets(here)]).toEqual(Array.from({ length: 50 }, (_, n) => n));
    expect(there.map(({ event }) => event.schemaversion)).toEqual(there.map(() => "1"));
    expect(there[0]?.event.upcasterror).toMatch(/code that this process does not have/);
    expect(here.every(({ event }) => event.schemaversion === "2" && event.upcasterror === undefined)).toBeTrue();
  } finally {
    await other.stop();
  }
}, 120_000);

test("previews that are too expensive take nothing from anybody", async () => {
  await registerVersions(url, "Previewed", [true, { schema: true, upcast: costly }]);
  for (let n = 0; n < 3; n++)
    expectProblem(await preview(url, "Previewed", { data: { n: 2_000_000_000 + n } }), 422, "upcast-failed");
  await append(url, "previewed", [{ type: "Previewed", data: { n: 3 } }]);
  const configuration = { stream: "previewed", mode: "exclusive", from: "beginning", receiveAs: "latest" };
  await put(`${url}/api/subscriptions/previewed`, configuration);
  const [delivery] = await claim(subscription(url, "previewed"));
  expect(delivery?.event).toMatchObject({ schemaversion: "2", data: { n: 3, x: 3 } });
}, 120_000);

test("an expression that is left alone makes no dead letters of events that it was never tried on", async () => {
  await registerVersions(url, "Costly", [true, { schema: true, upcast: costly }]);
  const events = [hostile, { n: 1 }, hostile, { n: 2 }, hostile].map((data) => ({ type: "Costly", data }));
  await append(url, "costly", events);
  const configuration = { stream: "costly", mode: "exclusive", from: "beginning", receiveAs: "latest" };
  await put(`${url}/api/subscriptions/costly`, configuration);
  const claimed = () => post(`${url}/api/subscriptions/costly/claims`, { max: 10 });
  expectProblem(await claimed(), 503, "schemas-unavailable");
  expectProblem(await claimed(), 503, "schemas-unavailable");
  // Those that were its end are out of the way, whatever becomes of the others.
  expect((await lettersOf("costly")).map(({ event }) => event.data)).toEqual([hostile, hostile, hostile]);
  const { body } = await send<{ inFlight: string; waiting: string }>(`${url}/api/subscriptions/costly`);
  expect(body).toMatchObject({ inFlight: "0", waiting: "2", deadLetters: "3" });
  // A read tells of it, and keeps nothing of that.
  const page = await send<{ events: { upcasterror?: string }[] }>(`${url}/api/streams/costly/events?schema=latest`);
  expect(page.body.events.at(-1)?.upcasterror).toMatch(/left alone/);
}, 120_000);
