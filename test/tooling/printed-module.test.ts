// The module that a page prints is loaded as it is printed, and does what the page says; so does the error that it shows.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startService } from "../support/service.ts";
import { until } from "../support/until.ts";

const root = new URL("../../", import.meta.url).pathname;
let folder = "";
let page = "";

beforeAll(async () => {
  // A module imports the service by its name, so it stands within its folder.
  folder = await mkdtemp(join(root, "test/.module-"));
  page = await Bun.file(join(root, "docs/schemas.md")).text();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function write(name: string, text: string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, text);
  return file;
}

test("the printed module registers its versions and upcasts", async () => {
  const [, printed = ""] = /^```ts\n([\s\S]*?)^```$/m.exec(page) ?? [];
  const service = await startService({ MODULES: await write("members.ts", printed) });
  try {
    const append = { type: "MemberAdded", data: { name: "Ada King Lovelace" } };
    await fetch(`${service.url}/api/streams/members/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(append),
    });
    const answer = await fetch(`${service.url}/api/streams/members/events?schema=latest`);
    expect(await answer.json()).toMatchObject({
      events: [{ schemaversion: "3", data: { firstName: "Ada", lastName: "King Lovelace" } }],
    });
    const changed = printed.replace("lastName: Type.String()", "lastName: Type.Number()");
    const env = { MODULES: await write("changed.ts", changed), DATABASE_URL: service.databaseUrl };
    const refused = await startService(env).then(
      () => "started",
      (error: unknown) => String(error),
    );
    const [, shown = ""] = /^```\n(module members: [\s\S]*?)^```$/m.exec(page) ?? [];
    for (const line of shown.trim().split("\n")) expect(refused).toContain(line.trim());
  } finally {
    await service.stop();
  }
}, 120_000);

test("the printed handlers are called, again when they fail, and not after that", async () => {
  const handlers = await Bun.file(join(root, "docs/consumers.md")).text();
  const [, printed = ""] = /^```ts\n([\s\S]*?)^```$/m.exec(handlers) ?? [];
  const mails: unknown[] = [];
  const mailServer = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      mails.push(await request.json());
      return new Response(null, { status: mails.length === 1 ? 500 : 202 });
    },
  });
  const text = printed.replace("127.0.0.1:8025", `127.0.0.1:${mailServer.port}`);
  const service = await startService({ MODULES: await write("billing.ts", text) });
  try {
    await fetch(`${service.url}/api/streams/payments/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ type: "OrderPaid", partitionkey: "o-1", data: { orderId: "o-1", amount: 12 } }),
    });
    await until("it is acknowledged", async () => {
      const answer = await fetch(`${service.url}/api/subscriptions/payment-mails`);
      return ((await answer.json()) as { lag: { events: string } }).lag.events === "0";
    });
    expect(mails).toEqual([1, 2].map((attempt) => ({ subject: "o-1: 12 paid", attempt })));
  } finally {
    await service.stop();
    await mailServer.stop(true);
  }
}, 120_000);
