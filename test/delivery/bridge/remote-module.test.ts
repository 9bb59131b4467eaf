// Remote streams of modules are put at the start, as over HTTP; what they cannot be keeps the service from starting.
import { afterAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { send } from "../../support/client.ts";
import { type RemoteBody, remote } from "../../support/remote.ts";
import { startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

const folder = await mkdtemp(join(tmpdir(), "sluice-remote-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function moduleFile(name: string, definition: string): Promise<string> {
  const path = join(folder, `${name}.ts`);
  const index = new URL("../../../src/workflow/index.ts", import.meta.url).pathname;
  await writeFile(
    path,
    `import { defineModule, defineRemoteStream } from ${JSON.stringify(index)};
export default defineModule({ name: ${JSON.stringify(name)}, remoteStreams: [${definition}] });\n`,
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
