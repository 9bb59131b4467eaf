// Remote streams of modules are put at the start, as over HTTP; what they cannot be keeps the service from starting.
import { afterAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { append, readAll, send } from "../../support/client.ts";
import { natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { mirrored, type RemoteBody, remote } from "../../support/remote.ts";
import { startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

const folder = await mkdtemp(join(tmpdir(), "sluice-remote-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function moduleFile(name: string, definition: string, streams = ""): Promise<string> {
  const path = join(folder, `${name}.ts`);
  const index = new URL("../../../src/workflow/index.ts", import.meta.url).pathname;
  await writeFile(
    path,
    `import { defineModule, defineRemoteStream, defineStream } from ${JSON.stringify(index)};
export default defineModule({ name: ${JSON.stringify(name)}, streams: [${streams}], remoteStreams: [${definition}] });\n`,
  );
  return path;
}

test("a module's remote stream is there when the service is, and waits for NATS", async () => {
  const path = await moduleFile("mirrors", 'defineRemoteStream("users", { service: "svca", stream: "users" })');
  const service = await startService({ MODULES: path });
  expect((await send(`${service.url}/api/streams/users`)).status).toBe(200);
  const found = await until("a process has it in hand", async () => {
    const body = await remote(service.url, "users");
    return body.state === "no-nats" ? body : null;
  });
  expect(found).toMatchObject({ service: "svca", stream: "users", maxDeliveries: 5 } as Partial<RemoteBody>);
  const listed = await send<{ remoteStreams: RemoteBody[] }>(`${service.url}/api/remote-streams`);
  expect(listed.body.remoteStreams.map(({ name }) => name)).toEqual(["users"]);
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  expect(metrics).toContain('sluice_remote_up{stream="users"} 0');
  await service.stop();
});

test("a module's remote stream that makes no sense keeps the service from starting, in one plain sentence", async () => {
  const path = await moduleFile("senseless", 'defineRemoteStream("users", { subject: "a b" })');
  expect(startService({ MODULES: path })).rejects.toThrow(/module senseless: remote stream users: .*subject of NATS/);
});

test("a module mirrors a cross-service stream of its own, and nothing mirrors itself", async () => {
  const shared = 'defineStream("orders", { scope: "cross-service" })';
  const own = await moduleFile("own", 'defineRemoteStream("copy", { service: "svcb", stream: "orders" })', shared);
  const self = await moduleFile("self", 'defineRemoteStream("orders", { jetstream: "svcb_orders" })', shared);
  await expect(startService({ MODULES: self, SERVICE_NAME: "svcb" })).rejects.toThrow(
    /module self: remote stream orders: .*what the local stream itself publishes/,
  );
  if (natsServerPath === null) return;
  const server = await startNatsServer();
  const service = await startService({ MODULES: own, SERVICE_NAME: "svcb", NATS_URL: server.url });
  await append(service.url, "orders", [{ type: "Placed", data: { n: 1 } }]);
  await mirrored(service.url, "copy", 1);
  expect((await readAll(service.url, "copy"))[0]).toMatchObject({
    type: "Placed",
    data: { n: 1 },
    stream: "copy",
    originstream: "orders",
    originoffset: "0",
  });
  await service.stop();
  await server.stop();
});
