// Streams of modules are configured at the start, as PUT would; what PUT would refuse stops the start with a plain sentence.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { send } from "../../support/client.ts";
import { createModuleFiles, type ModuleFiles } from "../../support/modules.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { type Service, startService } from "../../support/service.ts";

let files: ModuleFiles;
const services: Service[] = [];
beforeAll(async () => {
  files = await createModuleFiles();
});
afterAll(async () => {
  for (const service of services) await service.stop();
  await files.remove();
});

async function start(databaseUrl: string, ...modules: string[]): Promise<Service> {
  const paths: string[] = [];
  for (const code of modules) paths.push(await files.write(code));
  const service = await startService({ DATABASE_URL: databaseUrl, MODULES: paths.join(",") });
  services.push(service);
  return service;
}
const refusal = (databaseUrl: string, ...modules: string[]) =>
  start(databaseUrl, ...modules).then(
    () => "it started",
    (error: Error) => error.message,
  );
const describe = async ({ url }: Service, name: string) =>
  (await send<Record<string, unknown>>(`${url}/api/streams/${name}`)).body;
const module = (streams: string, name = "shop") =>
  `export default defineModule({ name: "${name}", streams: [${streams}] });`;

test("a stream is there with its configuration, and another start with another configuration changes it", async () => {
  const database = await createTestDatabase();
  const one = await start(
    database,
    module(
      `defineStream("orders", { validation: "enforce", retention: { maxAge: "7d" } }), defineStream("jobs", { type: "ephemeral", maxAttempts: 3 })`,
    ),
  );
  expect(await describe(one, "orders")).toMatchObject({
    type: "persistent",
    validation: "enforce",
    retention: { maxAge: "7d" },
  });
  expect(await describe(one, "jobs")).toMatchObject({ type: "ephemeral", maxAttempts: 3 });
  const again = await start(
    database,
    module(
      `defineStream("orders", { validation: "warn" }), defineStream("jobs", { type: "ephemeral", maxAttempts: 4 })`,
    ),
  );
  expect(await describe(again, "orders")).toMatchObject({ validation: "warn", retention: { maxAge: null } });
  expect(await describe(again, "jobs")).toMatchObject({ maxAttempts: 4 });
});

test("what PUT would refuse is said in a plain sentence, and nothing starts", async () => {
  const database = await createTestDatabase();
  await start(database, module(`defineStream("orders")`));
  const wrong: [string, RegExp][] = [
    [module(`defineStream("orders", { type: "ephemeral" })`), /^module shop: stream orders: .*is persistent/],
    [
      module(`defineStream("late", { retention: { maxAge: "soon" } })`),
      /^module shop: stream late: \/retention\/maxAge: must be a duration/,
    ],
    [
      module(`defineStream("late", { visibilityTimeout: "1s" })`),
      /^module shop: stream late: \/visibilityTimeout: belongs to/,
    ],
    [module(`defineStream("no/name")`), /cannot be loaded: "no\/name" is no name of a stream/],
    [module(`defineStream("a"), defineStream("a")`), /cannot be loaded: module shop defines a twice/],
  ];
  for (const [code, message] of wrong) expect(await refusal(database, code)).toMatch(message);
  expect(await refusal(database, module(`defineStream("a")`), module(`defineStream("a")`, "other"))).toBe(
    "the modules shop and other both define the stream a",
  );
});
