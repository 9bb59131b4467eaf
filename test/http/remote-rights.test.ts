// Who mirrors a stream of this very service, over NATS, has to be allowed to read it, however it is named there.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import type { Principal } from "../../src/base/principal.ts";
import { createBodyReader } from "../../src/http/body.ts";
import { createRemoteStreamView } from "../../src/http/remote-stream-view.ts";
import { remoteStreamsHandlers } from "../../src/http/remote-streams.ts";
import { defaultNaming } from "../../src/stream/cross-service/names.ts";
import { parseConfiguration } from "../../src/stream/stream-configuration.ts";
import { configureStream } from "../../src/stream/streams.ts";
import { type Appending, openAppending } from "../support/appending.ts";

const log = createLog("silent", "test");
const naming = defaultNaming("svcb");
const body = createBodyReader({ maxBytes: 10_000, timeoutMs: 10_000 });
let appending: Appending;
let handlers: ReturnType<typeof remoteStreamsHandlers>;
beforeAll(async () => {
  appending = await openAppending();
  const { reads, claims } = appending;
  const mirrors = { wake() {}, forget: async () => {} };
  const show = createRemoteStreamView({ service: "svcb", natsState: () => null, standingOf: () => null });
  handlers = remoteStreamsHandlers({ reads, writes: claims, mirrors, naming, show, body, log });
  for (const name of ["open", "secret"])
    await configureStream(claims, name, parseConfiguration({ scope: "cross-service" }), naming);
});
afterAll(async () => {
  body.stop();
  await appending.stop();
});

const somebody: Principal = {
  name: "somebody",
  canRead: (stream) => stream === "open" || stream === "copy",
  canAppend: () => false,
  canManage: (stream) => stream === "copy",
};

async function put(source: object): Promise<number> {
  const request = new Request("http://localhost/", { method: "PUT", body: JSON.stringify(source) });
  const exchange = { request, params: { name: "copy" }, principal: somebody, requestId: () => "r" };
  try {
    return (await handlers.put(exchange)).status;
  } catch (error) {
    return (error as { status: number }).status;
  }
}

test("what one may not read cannot be mirrored", async () => {
  for (const source of [
    { service: "svcb", stream: "secret" },
    { service: "svcb", stream: "unborn" },
    { jetstream: "svcb_secret" },
    { jetstream: "svcb_secret", subject: "svcb.secret.A" },
    { subject: "svcb.secret.A" },
    { subject: "svcb.>" },
  ])
    expect({ source, status: await put(source) }).toEqual({ source, status: 403 });
});

test("what one may read can be, and so can streams of others", async () => {
  expect(await put({ service: "svcb", stream: "open" })).toBe(201);
  for (const source of [
    { jetstream: "svcb_open" },
    { subject: "svcb.open.*" },
    { service: "svca", stream: "secret" },
    { jetstream: "svca_secret" },
    { subject: "svca.>" },
  ])
    expect({ source, status: await put(source) }).toEqual({ source, status: 200 });
});
