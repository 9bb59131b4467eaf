// Deciders in two services on one database: what they keep can be seen, and none of them is always too late.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ProblemBody, readAll, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

const root = new URL("../../", import.meta.url).pathname;
let folder: string;
let services: Service[];
beforeAll(async () => {
  // A module imports the service by its name, so it stands within its folder.
  folder = await mkdtemp(join(root, "test/.bank-"));
  const page = await Bun.file(join(root, "docs/deciders.md")).text();
  const [, printed = ""] = /^```ts\n([\s\S]*?)^```$/m.exec(page) ?? [];
  await writeFile(join(folder, "bank.ts"), printed);
  const env = { MODULES: join(folder, "bank.ts") };
  const one = await startService(env);
  services = [one, await startService({ ...env, DATABASE_URL: one.databaseUrl })];
});
afterAll(async () => {
  for (const service of services) await service.stop();
  await rm(folder, { recursive: true });
});

const run = (service: number, command: string, body: unknown) =>
  send<ProblemBody & { result: { balance: number } }>(`${services[service]?.url}/api/commands/${command}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
const deposit = (service: number, id: string) => run(service, "deposit", { id, amount: 1 });

test("what one service has stored the other one decides on, and a refusal tells why", async () => {
  await run(0, "open-account", { id: "a", owner: "Ada" });
  for (let n = 0; n < 4; n++) expect((await deposit(n % 2, "a")).status).toBe(201);
  expect((await run(0, "withdraw", { id: "a", amount: 3 })).body.result).toEqual({ balance: 1 });
  const refused = await run(1, "withdraw", { id: "a", amount: 3 });
  expect([refused.status, refused.body.type, refused.body.detail]).toEqual([
    409,
    "/problems/command-rejected",
    expect.stringContaining("the balance is too low"),
  ]);
  expect((await readAll(services[0]?.url as string, "account-a")).map(({ type }) => type)).toEqual([
    "AccountOpened",
    ...Array.from({ length: 4 }, () => "Deposited"),
    "Withdrawn",
  ]);
});

test("what deciders did is counted: commands, looks at streams, conflicts, snapshots, and the states that are kept", async () => {
  const metrics = await (await fetch(`${services[1]?.url}/metrics`)).text();
  const figure = (name: string) => Number(new RegExp(`^sluice_decider_${name} (.*)$`, "m").exec(metrics)?.[1]);
  // Two deposits, and a refusal, before which the stream was looked at anew.
  expect(figure("commands_total")).toBe(3);
  expect(figure("looks_total")).toBeGreaterThan(1);
  expect(figure("conflicts_total")).toBeGreaterThanOrEqual(0);
  expect(figure('snapshots_total{result="saved"}')).toBe(0);
  expect(figure('snapshots_total{result="failed"}')).toBe(0);
  expect(figure("states")).toBe(1);
  expect(figure("state_bytes")).toBeGreaterThan(0);
});

test("services that run commands on one entity all the time take turns, and the snapshot of its decider can be seen", async () => {
  const statuses: number[][] = [[], []];
  let all = 0;
  const loop = async (service: number) => {
    while (all < 3_000) {
      const { status } = await deposit(service, "b");
      statuses[service]?.push(status);
      if (status === 201) all++;
    }
  };
  await Promise.all(Array.from({ length: 80 }, (_, n) => loop(n % 2)));
  for (const list of statuses) {
    const done = list.filter((status) => status === 201).length;
    expect(done).toBeGreaterThan(300);
    expect(list.filter((status) => status === 409).length).toBeLessThan(done / 10);
    expect(new Set([...list, 201, 409])).toEqual(new Set([201, 409]));
  }
  const url = `${services[0]?.url}/api/streams/account-b`;
  const snapshot = await until("a late snapshot is there", async () => {
    const { status, body } = await send<{ offset: string; state: { balance: number }; by: string }>(`${url}/snapshot`);
    return status === 200 && Number(body.offset) > all - 150 ? body : null;
  });
  expect(snapshot.by).toBe("decider:account");
  expect(snapshot.state).toEqual({ owner: null, balance: Number(snapshot.offset) + 1 } as never);
});
