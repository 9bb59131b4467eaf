// Accounts that may not do all they need: what is not permitted is told in a sentence, and keeps nothing else waiting.
import { afterEach, describe, expect, test } from "bun:test";
import { createLog } from "../../../src/base/log.ts";
import { createBreaker } from "../../../src/delivery/bridge/breaker.ts";
import { JetStreamError, notPermitted } from "../../../src/delivery/bridge/jetstream.ts";
import { startNats } from "../../../src/delivery/bridge/nats.ts";
import { guarded } from "../../../src/delivery/bridge/questions.ts";
import { countOf, range } from "../../support/bridge.ts";
import { append, readAll, send } from "../../support/client.ts";
import { put } from "../../support/consume.ts";
import { type NatsServer, natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { produce, putRemote, remote } from "../../support/remote.ts";
import { startLoggedService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

type Bridge = {
  breaker: string;
  lastError: string | null;
  outbound: { streams: { stream: string; state: string; error: string | null; confirmedAt: string | null }[] };
};

const questions = ["INFO", "CREATE", "UPDATE", "MSG.GET"].map((verb) => `$JS.API.STREAM.${verb}.>`);

describe.skipIf(natsServerPath === null)("an account of narrowed permissions:", () => {
  const parts: { stop: () => Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const part of parts.splice(0).toReversed()) await part.stop();
  });

  /** A server where `svca` may publish on these subjects, besides asking JetStream, and subscribe to these. */
  const serve = async (publish: string[], subscribe = ["_INBOX.>"]) => {
    const narrowed = JSON.stringify({ publish, subscribe });
    const server = await startNatsServer({
      config: `authorization { users: [
        { user: "admin", password: "a" }
        { user: "svca", password: "s", permissions: ${narrowed} }
      ] }`,
      connectOptions: { user: "admin", pass: "a" },
    });
    parts.push(server);
    return server;
  };

  const start = async (server: NatsServer, env: Record<string, string> = {}) => {
    const service = await startLoggedService({
      NATS_URL: server.url,
      SERVICE_NAME: "svca",
      NATS_USER: "svca",
      NATS_PASSWORD: "s",
      NATS_CHECK_INTERVAL: "1s",
      ...env,
    });
    parts.push(service);
    return service;
  };

  const share = (url: string, stream: string) => put(`${url}/api/streams/${stream}`, { scope: "cross-service" });
  const bridge = async (url: string) => (await send<Bridge>(`${url}/api/bridge`)).body;
  const shown = async (url: string, stream: string) =>
    (await bridge(url)).outbound.streams.find((each) => each.stream === stream);
  const violations = (server: NatsServer, subject: string) =>
    server
      .output()
      .split("\n")
      .filter((line) => line.includes("Violation") && line.includes(`"${subject}`)).length;

  test("a stream that may not be published says so until it is, and others go on", async () => {
    const server = await serve([...questions, "svca.open.>", "svca.users.Allowed"]);
    const { url, lines } = await start(server);
    await share(url, "users");
    await share(url, "open");
    const subject = "svca.users.UserCreated";
    const sentence = `the account may not publish on ${subject}`;
    await append(url, "users", [{ type: "UserCreated" }, { type: "Allowed" }]);
    const told = await until("it is told", async () => {
      const found = await shown(url, "users");
      return found?.error ? found : null;
    });
    expect(told).toMatchObject({ error: sentence, confirmedAt: null });
    let seen = 0;
    await until("it has been tried again", async () => {
      expect(await shown(url, "users")).toMatchObject({ error: sentence, confirmedAt: null });
      if (seen++ === 0) await append(url, "open", [{ type: "A" }]);
      return violations(server, subject) > 4;
    });
    const client = await server.connect();
    await until("the other is published", async () => (await countOf(client, "svca_open")) === 1);
    expect(await countOf(client, "svca_users")).toBe(0);
    expect(await shown(url, "open")).toMatchObject({ state: "publishing", error: null });
    expect(await bridge(url)).toMatchObject({ breaker: "closed", lastError: null });
    const about = lines().filter(({ reason }) => reason === sentence);
    expect(about.map(({ msg }) => msg).toSorted()).toEqual([
      "NATS does not permit it",
      "publishing to NATS is held up",
    ]);
    expect(about.find(({ msg }) => msg.startsWith("NATS"))).toMatchObject({ operation: "publish", subject });
    // Nothing else was said of it, and nothing with a stack.
    expect(lines()).toHaveLength(2);
    const everything = { publish: [">"], subscribe: [">"] };
    await server.configure(`authorization { users: [
      { user: "admin", password: "a" }
      { user: "svca", password: "s", permissions: ${JSON.stringify(everything)} }
    ] }`);
    await until("it is published", async () => (await countOf(client, "svca_users")) === 2);
    const fine = await until("and says so", async () => {
      const found = await shown(url, "users");
      return found?.error === null && found.state === "publishing" ? found : null;
    });
    expect(fine.confirmedAt).not.toBeNull();
  });

  test("what may not be asked is an answer, and no silence", async () => {
    const server = await serve(["$JS.API.STREAM.INFO.open"]);
    const log = createLog("silent", "test");
    const nats = startNats({
      servers: [server.url],
      name: "test",
      credentials: { kind: "password", user: "svca", password: "s" },
      tls: null,
      inboxPrefix: "_INBOX",
      timeoutMs: 60_000,
      log,
    });
    parts.push(nats);
    await until("it is connected", () => nats.state() === "connected");
    const breaker = createBreaker(log);
    const asked = guarded(nats, breaker);
    for (const _ of range(20)) {
      const error = await asked.findStream("shut").catch((error: unknown) => error);
      expect(error).toBeInstanceOf(JetStreamError);
      expect(error).toMatchObject({
        code: notPermitted,
        message: "the account may not publish on $JS.API.STREAM.INFO.shut",
      });
    }
    expect(breaker.state()).toBe("closed");
    expect(await asked.findStream("open")).toBeNull();
  });

  test("a mirror that is not permitted says so once, and one that is begins at once", async () => {
    const server = await serve([
      "$JS.API.STREAM.INFO.>",
      "$JS.API.CONSUMER.*.open.>",
      "$JS.API.CONSUMER.*.*.open.>",
      "$JS.ACK.>",
    ]);
    const client = await server.connect();
    await produce(client, "shut", ["shut.>"]);
    const open = await produce(client, "open", ["open.>"]);
    await open.publish("open.A", { n: 1 });
    const { url, lines } = await start(server);
    await putRemote(url, "shut", { jetstream: "shut" });
    const subject = "$JS.API.CONSUMER.DELETE.shut";
    await until("it has been tried again and again", () => violations(server, subject) > 6);
    expect((await remote(url, "shut")).lastError?.message).toBe(`the account may not publish on ${subject}.svca_shut`);
    expect(await bridge(url)).toMatchObject({ breaker: "closed", lastError: null });
    await putRemote(url, "open", { jetstream: "open" });
    await until("the other mirrors", async () => (await remote(url, "open")).mirrored?.sequence === "1");
    const about = lines().filter(({ remoteStream }) => remoteStream === "shut");
    expect(about).toHaveLength(1);
    expect(about[0]).toMatchObject({ reason: `the account may not publish on ${subject}.svca_shut` });
    expect(about[0]?.err).toBeUndefined();
  });

  test("messages of a consumer that may not be asked for are not waited for", async () => {
    const server = await serve([
      "$JS.API.STREAM.INFO.>",
      "$JS.API.CONSUMER.DELETE.>",
      "$JS.API.CONSUMER.DURABLE.>",
      "$JS.API.CONSUMER.CREATE.>",
    ]);
    await produce(await server.connect(), "shut", ["shut.>"]);
    const { url } = await start(server);
    await putRemote(url, "shut", { jetstream: "shut" });
    const { lastError } = await until("it is told", async () => {
      const found = await remote(url, "shut");
      return found.lastError === null ? null : found;
    });
    expect(lastError?.message).toContain("the account may not publish on $JS.API.CONSUMER.MSG.NEXT.shut.svca_shut");
  });

  test("acknowledgements that are not allowed are told, and what was stored stays so", async () => {
    const server = await serve(["$JS.API.STREAM.INFO.>", "$JS.API.CONSUMER.>"]);
    const unheard = await produce(await server.connect(), "unheard", ["unheard.>"]);
    const { url, lines } = await start(server);
    await putRemote(url, "unheard", { jetstream: "unheard" });
    for (let n = 0; n < 5; n++) await unheard.publish("unheard.A", { n });
    await until("all are mirrored", async () => (await remote(url, "unheard")).mirrored?.sequence === "5");
    const sentence = "the account may not publish on $JS.ACK.unheard.svca_unheard.>";
    await until("it is told", async () => (await remote(url, "unheard")).lastError?.message === sentence);
    expect(await readAll(url, "unheard")).toHaveLength(5);
    expect(lines().filter(({ remoteStream }) => remoteStream === "unheard")).toHaveLength(1);
  });

  test("an inbox that may not be used is told once, with the variable that names another", async () => {
    const server = await serve([...questions, "svca.>"], ["_INBOX_svca.>"]);
    const { url, lines } = await start(server);
    await share(url, "users");
    await append(url, "users", [{ type: "A" }]);
    await until("it has been tried again", () => violations(server, "_INBOX.") > 4);
    const sentence = "the account may not subscribe to _INBOX.…: NATS_INBOX_PREFIX names the inbox it may use";
    expect(await shown(url, "users")).toMatchObject({ error: sentence });
    expect(lines().map(({ reason }) => reason)).toEqual([sentence, sentence]);
    expect(await bridge(url)).toMatchObject({ breaker: "closed" });
    const { url: other } = await start(server, { NATS_INBOX_PREFIX: "_INBOX_svca" });
    await share(other, "users");
    await append(other, "users", [{ type: "A" }]);
    const client = await server.connect();
    await until("it is published", async () => (await countOf(client, "svca_users")) === 1);
  });
});
