// A service that stops: its sagas are left to others from the first moment, however long its requests take to end.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { send } from "../../support/client.ts";
import { createModuleFiles, type ModuleFiles } from "../../support/modules.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { begin, newCorrelation, untilState } from "../../support/sagas.ts";
import { type Service, startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

let files: ModuleFiles;
beforeAll(async () => {
  files = await createModuleFiles();
});
afterAll(() => files.remove());

const steps = 100;
/** What the code of the modules leaves to the test to end. */
const ends = globalThis as unknown as { endOfWait: () => void; endOfFirstStep: () => void };

/** A saga of many steps, each of which notes who does it, and a command that waits. */
const module = (who: string, stepMs: number) => `
  const long = Array.from({ length: ${steps} }).reduce(
    (saga, _, n) => saga.step("step-" + n, { execute: async () => {
      note("${who}");
      await (n === 0 ? new Promise((resolve) => { (globalThis as any).endOfFirstStep = resolve; }) : sleep(${stepMs}));
    } }),
    sluice.defineSaga("long", { data: Type.Object({}) }),
  );
  const wait = sluice.defineCommand("wait", {
    body: Type.Object({}),
    timeout: "1m",
    handle: () => new Promise((resolve) => { note("waits"); (globalThis as any).endOfWait = resolve; }),
  });
  export default defineModule({ name: "long", events: [], commands: [wait], sagas: [long] });`;
const start = async (databaseUrl: string, who: string, stepMs: number): Promise<Service> =>
  startService({
    DATABASE_URL: databaseUrl,
    SHUTDOWN_TIMEOUT: "1m",
    MODULES: await files.write(module(who, stepMs)),
  });

test("while a request is under way in a service that stops, another service goes on with its sagas", async () => {
  const databaseUrl = await createTestDatabase();
  const one = await start(databaseUrl, "one", 50);
  const asked = send<unknown>(`${one.url}/api/commands/wait`, { method: "POST", body: "{}" });
  await until("a request is under way", () => files.notes.includes("waits"));
  const id = await begin(one, "long", newCorrelation(), {});
  await until("it has begun", () => files.notes.includes("one"));
  const two = await start(databaseUrl, "two", 0);
  const stopping = one.stop();
  ends.endOfFirstStep();
  const saga = await untilState(two, id, "Completed");
  expect(saga.completedSteps).toHaveLength(steps);
  expect(files.notes).toContain("two");
  ends.endOfWait();
  expect((await asked).status).toBe(200);
  await stopping;
  await two.stop();
});
