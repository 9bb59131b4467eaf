// Subscriptions of modules: configured at the start, consumed by their handlers, with retries, time limits and an end.
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, send } from "../../support/client.ts";
import { createModuleFiles, type ModuleFiles } from "../../support/modules.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { type Service, spawnService, startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

let files: ModuleFiles;
const services: Service[] = [];
beforeAll(async () => {
  files = await createModuleFiles();
});
afterEach(async () => {
  for (const service of services.splice(0)) await service.stop();
  files.notes.length = 0;
});
afterAll(() => files.remove());

async function start(code: string, databaseUrl?: string): Promise<Service> {
  const service = await startService({
    MODULES: await files.write(code),
    ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
  });
  services.push(service);
  return service;
}
/** A module with one event type, whose data are numbers, and a subscription of the stream `jobs` from its beginning. */
const module = (handler: string, options = "", more = "") => `
  const Job = defineEvent("Job", Type.Object({ n: Type.Number() }));
  const jobs = defineSubscription("jobs", { stream: "jobs", mode: "exclusive", from: "beginning",
    backoff: { initial: "50ms" }, ${options} }).on(Job, ${handler})${more};
  export default defineModule({ name: "work", events: [Job], subscriptions: [jobs] });`;
const fill = ({ url }: Service, ...numbers: unknown[]) =>
  append(
    url,
    "jobs",
    numbers.map((n) => ({ type: "Job", partitionkey: `k-${Math.floor(Number(n) / 10)}`, data: { n } })),
  );
type Letter = { event: Envelope; lastError: string; attempts: number };
const letters = async ({ url }: Service) =>
  (await send<{ deadLetters: Letter[] }>(`${url}/api/subscriptions/jobs/dead-letters`)).body.deadLetters;
type Lag = { lag: { events: string }; inFlight: string };
const lag = async ({ url }: Service) => (await send<Lag>(`${url}/api/subscriptions/jobs`)).body;
const settled = (service: Service) => until("all is settled", async () => (await lag(service)).lag.events === "0");
const noted = (count: number) => until(`${count} were handled`, () => files.notes.length >= count);

test("events are handled in order as they are appended, with what they bear, and acknowledged", async () => {
  const service = await start(
    module(`({ n }, event, { attempt }) => note([n, event.stream, event.offset, event.partitionKey, attempt])`),
  );
  await fill(service, 1, 2);
  await noted(2);
  await fill(service, 30);
  await noted(3);
  expect(files.notes).toEqual([
    [1, "jobs", 0, "k-0", 1],
    [2, "jobs", 1, "k-0", 1],
    [30, "jobs", 2, "k-3", 1],
  ]);
  await settled(service);
  const { body } = await send<Record<string, unknown>>(`${service.url}/api/subscriptions/jobs`);
  expect(body).toMatchObject({ mode: "exclusive", types: ["Job"], receiveAs: "stored" });
});

test("with all streams its handlers are told of each entity of a decider, one stream each, and start a saga for it", async () => {
  const service = await start(`
    const { defineDecider, defineSaga } = sluice;
    const Opened = defineEvent("Opened", Type.Object({ id: Type.String() }));
    const Closed = defineEvent("Closed", Type.Object({ id: Type.String() }));
    const carts = defineDecider("cart", { state: Type.Object({ open: Type.Boolean() }), initialState: { open: false } })
      .on(Opened, () => ({ open: true })).on(Closed, () => ({ open: false }))
      .command("open", { body: Type.Object({ id: Type.String() }), id: ({ id }) => id, decide: (_, { id }) => Opened.event({ id }) })
      .command("close", { body: Type.Object({ id: Type.String() }), id: ({ id }) => id,
        decide: ({ open }, { id }) => (open ? Closed.event({ id }) : []) });
    const timer = defineSaga("timer", { data: Type.Object({ id: Type.String() }) })
      .sleep("a-while", { for: "50ms" })
      .step("close", { execute: async ({ id }, { run }) => { await run(carts, "close", { id }); } });
    const opened = defineSubscription("opened", { stream: "*", mode: "exclusive", from: "beginning" })
      .on(Opened, async ({ id }, event, { start }) => { note(event.stream); await start(timer, { id }); });
    export default defineModule({ name: "shop", events: [Opened, Closed], deciders: [carts], sagas: [timer], subscriptions: [opened] });`);
  const post = (id: string) =>
    send(`${service.url}/api/commands/open`, { method: "POST", body: JSON.stringify({ id }) });
  await Promise.all(["a", "b", "c"].map(post));
  await noted(3);
  expect(files.notes.toSorted()).toEqual(["cart-a", "cart-b", "cart-c"]);
  for (const id of ["a", "b", "c"]) {
    type Page = { events: { type: string }[] };
    const types = async () =>
      (await send<Page>(`${service.url}/api/streams/cart-${id}/events`)).body.events.map((e) => e.type);
    await until(`cart ${id} is closed`, async () => (await types()).join() === "Opened,Closed");
  }
});

test("a handler is told the id of the saga that it starts, the same at each attempt", async () => {
  const service = await start(`
    const { defineSaga } = sluice;
    const Job = defineEvent("Job", Type.Object({ n: Type.Number() }));
    const timer = defineSaga("timer", { data: Type.Object({ n: Type.Number() }) }).sleep("long", { for: "1h" });
    const jobs = defineSubscription("jobs", { stream: "jobs", mode: "exclusive", from: "beginning", backoff: { initial: "10ms" } })
      .on(Job, async ({ n }, event, { start, attempt }) => {
        note([await start(timer, { n }), event.id]);
        if (attempt < 3) throw new Error("once more");
      });
    export default defineModule({ name: "work", events: [Job], sagas: [timer], subscriptions: [jobs] });`);
  await fill(service, 7);
  await noted(3);
  type Started = [{ sagaId: string; correlationId: string }, string];
  const [[told, eventId], ...again] = files.notes as [Started, ...Started[]];
  expect(again).toEqual([
    [told, eventId],
    [told, eventId],
  ]);
  expect(told.correlationId).toBe(eventId);
  const { body } = await send(`${service.url}/api/sagas/${told.sagaId}/status`);
  expect(body).toMatchObject({ saga: "timer", state: "Running", data: { n: 7 } });
  const { body: list } = await send<{ sagas: unknown[] }>(`${service.url}/api/sagas?saga=timer`);
  expect(list.sagas).toHaveLength(1);
});

test("handlers get the newest version of a type", async () => {
  const service = await start(`
    const Moved = defineEvent("Moved", Type.Object({ x: Type.Number() }))
      .version(Type.Object({ x: Type.Number(), y: Type.Number() }), { upcast: ({ x }) => ({ x, y: -x }) });
    const moves = defineSubscription("moves", { stream: "moves", from: "beginning" }).on(Moved, ({ y }) => note(y));
    export default defineModule({ name: "space", events: [Moved], subscriptions: [moves] });`);
  await append(service.url, "moves", [
    { type: "Moved", data: { x: 1 } },
    { type: "Moved", schemaversion: 2, data: { x: 1, y: 7 } },
  ]);
  await noted(2);
  expect(files.notes).toEqual([-1, 7]);
});

test("handlers get the version that their module knows, also when others know a newer one", async () => {
  const service = await start(`
    const Moved = defineEvent("Moved", Type.Object({ x: Type.Number() }))
      .version(Type.Object({ x: Type.Number(), y: Type.Number() }), { upcast: ({ x }) => {
        if (x < 0) throw new Error("x is negative");
        return { x, y: -x };
      } });
    const jobs = defineSubscription("jobs", { stream: "moves", from: "beginning", maxAttempts: 1 }).on(Moved, (data) => note(data));
    export default defineModule({ name: "space", events: [Moved], subscriptions: [jobs] });`);
  const third = { schema: { type: "object" }, upcast: { language: "jsonata", expression: '{"point": [x, y]}' } };
  await send(`${service.url}/api/schemas/Moved/versions/3`, { method: "PUT", body: JSON.stringify(third) });
  await append(service.url, "moves", [
    { type: "Moved", data: { x: 1 } },
    { type: "Moved", data: { x: -1 } },
    { type: "Moved", schemaversion: 3, data: { point: [1, 2] } },
    { type: "Moved", schemaversion: 2, data: { x: 3, y: 4 } },
  ]);
  await noted(2);
  expect(files.notes).toEqual([
    { x: 1, y: -1 },
    { x: 3, y: 4 },
  ]);
  await until("two are dead", async () => (await letters(service)).length === 2);
  expect((await letters(service)).map(({ lastError }) => lastError).toSorted()).toEqual([
    expect.stringContaining("x is negative"),
    "it is version 3 of Moved, of which the module knows 2",
  ]);
});

test("an event whose handler throws comes again, and is a dead letter with the reason after as many attempts as are allowed", async () => {
  const service = await start(
    module(
      `({ n }, event, { attempt }) => { note([n, attempt]); if (n === 2 || attempt < 2) throw new Error("no " + n); }`,
      `maxAttempts: 3`,
    ),
  );
  await fill(service, 1, 2);
  const [letter] = await until("one is dead", async () => {
    const found = await letters(service);
    return found.length > 0 ? found : null;
  });
  expect(letter).toMatchObject({ event: { data: { n: 2 } }, lastError: "no 2", attempts: 3 });
  expect(files.notes.toSorted()).toEqual([
    [1, 1],
    [1, 2],
    [2, 1],
    [2, 2],
    [2, 3],
  ]);
  await settled(service);
});

test("what no database takes in the reason of a failure is left out of it, and the event is given back at once", async () => {
  const service = await start(
    // Were it not given back, it would wait for its time to run out.
    module(`() => { throw new Error("no\\0 way\\ud800"); }`, `maxAttempts: 2, visibilityTimeout: "1h"`),
  );
  await fill(service, 1);
  const [letter] = await until("it is dead", async () => {
    const found = await letters(service);
    return found.length > 0 ? found : null;
  });
  expect(letter).toMatchObject({ lastError: "no  way\ufffd", attempts: 2 });
});

test("a handler that hangs meets its time limit, its signal fires, and the others go on", async () => {
  const service = await start(
    module(
      `({ n }, event, { signal }) => {
        if (n !== 1) return note(n);
        signal.addEventListener("abort", () => note("aborted"));
        return new Promise(() => {});
      }`,
      `timeout: "100ms", maxAttempts: 1`,
    ),
  );
  await fill(service, 1, 2);
  await noted(2);
  expect(files.notes).toEqual(["aborted", 2]);
  await until("it is dead", async () => (await letters(service))[0]?.lastError === "it did not finish within 100 ms");
});

test("what is no event of the type as the module knows it is a dead letter at once, and never handled", async () => {
  const service = await start(module(`({ n }) => note(n.toFixed(1))`));
  await fill(service, 1, "two", 3);
  await append(service.url, "jobs", { type: "Job" });
  await noted(2);
  expect(files.notes).toEqual(["1.0", "3.0"]);
  await until("two are dead", async () => (await letters(service)).length === 2);
  expect((await letters(service)).map(({ lastError }) => lastError)).toEqual([
    "its data do not match Job: /n must be number",
    "it has no JSON data",
  ]);
});

test("what waits behind slow handlers stays with this process for longer than the visibility timeout", async () => {
  const service = await start(
    module(
      `async ({ n }, event, { attempt }) => { await sleep(60); note([n, attempt]); }`,
      `visibilityTimeout: "200ms"`,
    ),
  );
  await fill(service, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
  await settled(service);
  expect(files.notes).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((n) => [n, 1]));
});

test("several at a time: as many as are wanted, and no more", async () => {
  const service = await start(
    `let running = 0;${module(`async ({ n }) => { note(++running); await sleep(20); running--; }`, `concurrency: 4`)}`,
  );
  await fill(service, ...Array.from({ length: 24 }, (_, n) => n));
  await noted(24);
  await settled(service);
  expect(Math.max(...(files.notes as number[]))).toBe(4);
});

test("in a consumer group the events of one key are handled in order, also when one fails, and keys beside each other", async () => {
  const service = await start(
    `const failed = new Set();` +
      module(
        `async ({ n }) => {
          await sleep(n % 3);
          if (n % 10 === 2 && !failed.has(n)) { failed.add(n); throw new Error("once"); }
          note(n);
        }`,
        `concurrency: 8`,
      ).replace(`"exclusive"`, `"consumer-group"`),
  );
  const all = Array.from({ length: 60 }, (_, n) => n);
  await fill(service, ...all);
  await noted(60);
  await settled(service);
  const byKey = Map.groupBy(files.notes as number[], (n) => Math.floor(n / 10));
  for (const [key, numbers] of byKey) expect(numbers).toEqual(all.slice(key * 10, key * 10 + 10));
});

test("two processes share a module's subscription: each event is handled once", async () => {
  const databaseUrl = await createTestDatabase();
  const code = module(`async ({ n }) => { await sleep(1); note(n); }`).replace(`"exclusive"`, `"broadcast"`);
  const one = await start(code, databaseUrl);
  await start(code, databaseUrl);
  const all = Array.from({ length: 200 }, (_, n) => n);
  await fill(one, ...all);
  await noted(200);
  await settled(one);
  expect((files.notes as number[]).toSorted((a, b) => a - b)).toEqual(all);
});

test("a service that stops finishes the handler under way, and leaves the rest to others", async () => {
  const databaseUrl = await createTestDatabase();
  const slow = await start(
    module(`async ({ n }) => { note("begun " + n); await sleep(100); note("done " + n); }`),
    databaseUrl,
  );
  await fill(slow, 1, 2, 3);
  await until("the first is being handled", () => files.notes.includes("begun 1"));
  await services.pop()?.stop();
  expect(files.notes).toEqual(["begun 1", "done 1"]);
  const next = await start(module(`({ n }) => note(n)`), databaseUrl);
  await settled(next);
  expect(files.notes.slice(2)).toEqual([2, 3]);
});

test("a process that is killed within a handler loses nothing: another one handles the event again", async () => {
  const databaseUrl = await createTestDatabase();
  const env = { DATABASE_URL: databaseUrl, LOG_LEVEL: "info" };
  const hanging = await files.write(
    module(`() => new Promise(() => { process.kill(process.pid, "SIGKILL"); })`, `visibilityTimeout: "300ms"`),
  );
  const doomed = await spawnService({ ...env, MODULES: hanging });
  await append(doomed.url, "jobs", { type: "Job", data: { n: 1 } }).catch(() => {});
  await doomed.exited;
  const next = await start(
    module(`({ n }, event, { attempt }) => note([n, attempt])`, `visibilityTimeout: "300ms"`),
    databaseUrl,
  );
  await settled(next);
  expect(files.notes).toEqual([[1, 2]]);
});

test("types without a handler that are asked for are acknowledged; what is not asked for never comes", async () => {
  const service = await start(module(`({ n }) => note(n)`, `types: ["Job", "Other"]`));
  await append(service.url, "jobs", [{ type: "Other" }, { type: "Third" }, { type: "Job", data: { n: 1 } }]);
  await noted(1);
  await settled(service);
  expect(await letters(service)).toEqual([]);
});

test("a subscription without handlers is configured, and consumed by whoever asks", async () => {
  const service = await start(`
    const invited = defineSubscription("invited", { streams: ["invitations", "users"], mode: "consumer-group", maxAttempts: 9 });
    export default defineModule({ name: "people", subscriptions: [invited] });`);
  const { body } = await send<Record<string, unknown>>(`${service.url}/api/subscriptions/invited`);
  expect(body).toMatchObject({
    streams: ["invitations", "users"],
    mode: "consumer-group",
    maxAttempts: 9,
    types: null,
  });
});

test("handlers of a subscription that is completed or deleted rest, and the service goes on", async () => {
  const service = await start(module(`({ n }) => note(n)`, `terminal: ["End"]`));
  await fill(service, 1);
  await append(service.url, "jobs", { type: "End" });
  await until("it is completed", async () => {
    const { body } = await send<{ completedAt: string | null }>(`${service.url}/api/subscriptions/jobs`);
    return body.completedAt !== null;
  });
  expect(files.notes).toEqual([1]);
  const other = await start(module(`({ n }) => note(n)`));
  await fill(other, 2);
  await noted(2);
  await send(`${other.url}/api/subscriptions/jobs`, { method: "DELETE" });
  await fill(other, 3);
  expect((await fetch(`${other.url}/readyz`)).status).toBe(200);
});

test("what is wrong with a subscription stops the start with a plain sentence", async () => {
  const databaseUrl = await createTestDatabase();
  const refusal = (code: string) =>
    start(code, databaseUrl).then(
      () => "it started",
      (error: Error) => error.message,
    );
  const wrong: [string, RegExp][] = [
    [
      module("() => {}", `visibilityTimeout: "soon"`),
      /^module work: subscription jobs: \/visibilityTimeout: must be a duration/,
    ],
    [
      module("() => {}", `streams: ["a"]`),
      /^module work: subscription jobs: .*must have one of stream, streams and correlation/,
    ],
    [module("() => {}", `slots: 4`), /^module work: subscription jobs: \/slots: belongs to a consumer-group/],
    [
      module("() => {}", `consumer: "two words"`),
      /^module work: subscription jobs: "two words" is no name of a consumer/,
    ],
    [module("() => {}", `concurrency: 0`), /cannot be loaded: subscription jobs: concurrency/],
    [module("() => {}", `timeout: "1ms"`), /cannot be loaded: subscription jobs: timeout must be a duration/],
    [module("() => {}", `receiveAs: 1`), /cannot be loaded: subscription jobs has handlers, which get the newest/],
    [module("() => {}", "", ".on(Job, () => {})"), /cannot be loaded: subscription jobs handles Job twice/],
    [module("() => {}").replace("exclusive", "read-receipt"), /cannot be loaded: subscription jobs is read-receipt/],
    [
      module("() => {}").replace(`("jobs"`, `("two words"`),
      /cannot be loaded: "two words" is no name of a subscription/,
    ],
  ];
  for (const [code, message] of wrong) expect(await refusal(code)).toMatch(message);
});
