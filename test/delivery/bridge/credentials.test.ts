// Credentials: who the service is for NATS, what it needs to be allowed to, and what becomes of it where NATS does not believe it.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credsAuthenticator } from "nats";
import { pino } from "pino";
import type { NatsOptions } from "../../../src/delivery/bridge/jetstream.ts";
import { startNats } from "../../../src/delivery/bridge/nats.ts";
import { consumersOf, countOf, offsetsOf } from "../../support/bridge.ts";
import { append, send } from "../../support/client.ts";
import { put } from "../../support/consume.ts";
import { type NatsServer, natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { createOperator } from "../../support/operator.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { spawnService, startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

describe.skipIf(natsServerPath === null)("credentials:", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "sluice-credentials-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const file = async (name: string, content: string) => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };

  /** A service that NATS refuses: a process of its own, which whatever is thrown where nobody listens would end. */
  const refused = async (server: NatsServer, env: Record<string, string>) => {
    const service = await spawnService({
      DATABASE_URL: await createTestDatabase(),
      NATS_URL: server.url,
      SERVICE_NAME: "svca",
      ...env,
    });
    await put(`${service.url}/api/streams/parcels`, { scope: "cross-service" });
    expect((await append(service.url, "parcels", [{ type: "A" }, { type: "B" }])).status).toBe(201);
    const bridge = await until("it says why", async () => {
      const { body } = await send<{ connected: boolean; lastError: string | null }>(`${service.url}/api/bridge`);
      return body.lastError === null ? null : body;
    });
    expect(bridge.connected).toBe(false);
    return {
      ...service,
      reason: bridge.lastError,
      async stop() {
        service.kill("SIGTERM");
        expect(await service.exited).toBe(0);
      },
    };
  };
  const times = (server: NatsServer, line: RegExp) => server.output().split(line).length - 1;

  const publishes = async (config: string, connectOptions: object, env: Record<string, string>) => {
    const server = await startNatsServer({ config, connectOptions });
    const service = await startService({ NATS_URL: server.url, SERVICE_NAME: "svca", ...env });
    await put(`${service.url}/api/streams/parcels`, { scope: "cross-service" });
    await append(service.url, "parcels", [{ type: "A" }, { type: "B" }]);
    const client = await server.connect();
    await until("both are there", async () => (await countOf(client, "svca_parcels")) === 2);
    expect(await offsetsOf(client, "svca_parcels")).toEqual([0, 1]);
    await service.stop();
    await server.stop();
    return server.output();
  };

  test("user and password", () =>
    publishes(
      'authorization { user: "u", password: "p w" }',
      { user: "u", pass: "p w" },
      {
        NATS_USER: "u",
        NATS_PASSWORD: "p w",
      },
    ));

  test("a token", () => publishes('authorization { token: "t0ken" }', { token: "t0ken" }, { NATS_TOKEN: "t0ken" }));

  test("the permissions that the documentation prints are enough, of who publishes and of who mirrors", async () => {
    const page = await Bun.file(`${import.meta.dir}/../../../docs/bridge.md`).text();
    const [publisher = "", mirror = ""] = [...page.matchAll(/```\n(permissions \{[\s\S]*?\n\})\n```/g)].map((found) =>
      (found[1] as string).replace("permissions {", "permissions: {"),
    );
    const server = await startNatsServer({
      config: `authorization { users: [
        { user: "admin", password: "a" }
        { user: "svca", password: "s", ${publisher} }
        { user: "svcb", password: "s", ${mirror} }
      ] }`,
      connectOptions: { user: "admin", pass: "a" },
    });
    const of = (name: string) => ({
      ...{ NATS_URL: server.url, SERVICE_NAME: name, NATS_USER: name, NATS_PASSWORD: "s" },
      NATS_INBOX_PREFIX: `_INBOX_${name}`,
    });
    const first = await startService(of("svca"));
    const second = await startService(of("svcb"));
    await put(`${first.url}/api/streams/parcels`, { scope: "cross-service" });
    await append(first.url, "parcels", [{ type: "A" }, { type: "B" }]);
    await put(`${second.url}/api/remote-streams/incoming`, { service: "svca", stream: "parcels" });
    await until("both are mirrored", async () => {
      const { status, body } = await send<{ length: string }>(`${second.url}/api/streams/incoming`);
      return status === 200 && body.length === "2";
    });
    await send(`${second.url}/api/remote-streams/incoming`, { method: "DELETE" });
    const manager = await (await server.connect()).jetstreamManager();
    await until("its consumer is gone", async () => (await consumersOf(manager, "svca_parcels")).length === 0);
    await second.stop();
    await first.stop();
    await server.stop();
    expect(server.output()).not.toContain("Violation");
  });

  test("a file of credentials", async () => {
    const operator = createOperator();
    const creds = operator.credsOf("svca");
    const authenticator = credsAuthenticator(new TextEncoder().encode(operator.credsOf("test")));
    await publishes(operator.config, { authenticator }, { NATS_CREDS: await file("svca.creds", creds) });
  });

  test("credentials of a stranger, or what are none, are refused again and again, and the service goes on", async () => {
    const operator = createOperator();
    const authenticator = credsAuthenticator(new TextEncoder().encode(operator.credsOf("test")));
    const server = await startNatsServer({ config: operator.config, connectOptions: { authenticator } });
    const stranger = await refused(server, {
      NATS_CREDS: await file("stranger.creds", createOperator().credsOf("svca")),
    });
    expect(stranger.reason).toMatch(/authorization/i);
    await until("it has tried again", () => times(server, /authentication error/) > 1);
    await stranger.stop();
    const none = await refused(server, { NATS_CREDS: await file("none.creds", "none") });
    expect(none.reason).toMatch(/creds/i);
    await none.stop();
    await server.stop();
  });

  /** A connection, and what it has logged. */
  const watched = (more: Pick<NatsOptions, "servers"> & Partial<NatsOptions>) => {
    const lines: string[] = [];
    const nats = startNats({
      name: "test",
      credentials: { kind: "password", user: "u", password: "wrong" },
      tls: null,
      inboxPrefix: "_INBOX",
      timeoutMs: 2_000,
      log: pino({ level: "warn" }, { write: (line: string) => lines.push(line) }),
      ...more,
    });
    return { nats, lines: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
  };

  test("that NATS refuses is told once in its own words, without quotes or a stack", async () => {
    const server = await startNatsServer({
      config: 'authorization { user: "u", password: "p" }',
      connectOptions: { user: "u", pass: "p" },
    });
    const { nats, lines } = watched({ servers: [server.url] });
    await until("it has tried again", () => lines().length > 1);
    expect(nats.lastError()).toBe("Authorization Violation");
    for (const line of lines()) {
      expect(line).toMatchObject({ msg: "cannot connect to NATS", reason: "Authorization Violation" });
      expect(line.err).toBeUndefined();
    }
    await nats.stop();
    await server.stop();
    const away = watched({ servers: [server.url] });
    await until("it has tried", () => away.nats.lastError() !== null);
    expect(away.nats.lastError()).toBe("Connection refused");
    await away.nats.stop();
  });

  test("what is to be encrypted is not said to a server without TLS, which is told", async () => {
    let heard = "";
    let calls = 0;
    const plain = createServer((socket) => {
      calls++;
      socket.on("data", (data) => {
        heard += data.toString();
      });
      socket.on("error", () => {});
      socket.write('INFO {"server_id":"plain","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576}\r\n');
    });
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    const { port } = plain.address() as AddressInfo;
    const { nats } = watched({
      servers: [`tls://127.0.0.1:${port}`],
      tls: { caFile: null, certFile: null, keyFile: null },
    });
    await until("it has tried again", () => calls > 2);
    expect(nats.lastError()).toBe("the server offers no TLS");
    expect([nats.connects(), heard]).toEqual([0, ""]);
    await nats.stop();
    plain.close();
  });

  describe("TLS:", () => {
    const at = (name: string) => join(folder, name);
    const request = (name: string) =>
      Bun.$`openssl req -newkey rsa:2048 -nodes -subj /CN=${name} -keyout ${at(name)}.key -out ${at(name)}.csr`.quiet();
    /** Makes an authority, or a certificate that one has signed. */
    const certify = async (name: string, by: string | null) => {
      const names = await file("names.ext", "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
      if (by === null) {
        await Bun.$`openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=${name} -keyout ${at(name)}.key -out ${at(name)}.pem`.quiet();
        return;
      }
      await request(name);
      await Bun.$`openssl x509 -req -days 2 -in ${at(name)}.csr -CA ${at(by)}.pem -CAkey ${at(by)}.key -CAcreateserial -extfile ${names} -out ${at(name)}.pem`.quiet();
    };
    const own = (name: string) => ({
      NATS_TLS_CA: at("ca.pem"),
      NATS_TLS_CERT: at(`${name}.pem`),
      NATS_TLS_KEY: at(`${name}.key`),
    });
    const tls = { caFile: "", certFile: "", keyFile: "" };
    beforeAll(async () => {
      await certify("ca", null);
      await certify("other-ca", null);
      await certify("server", "ca");
      await certify("client", "ca");
      await certify("stranger", "other-ca");
      Object.assign(tls, { caFile: at("ca.pem"), certFile: at("client.pem"), keyFile: at("client.key") });
    });
    const served = (more: string) =>
      `tls { cert_file: "${at("server.pem")}", key_file: "${at("server.key")}" ${more} }`;
    const mutual = () => served(`, ca_file: "${at("ca.pem")}", verify: true`);

    test("with an authority of one's own", () => publishes(served(""), { tls }, { NATS_TLS_CA: at("ca.pem") }));

    test("with a certificate of one's own, which the server asks for", () =>
      publishes(mutual(), { tls }, own("client")));

    for (const [whose, file] of [
      ["of a stranger", "stranger"],
      ["that is wanted and not there", null],
    ] as const)
      test(`a certificate ${whose} is refused again and again, and logged`, async () => {
        const server = await startNatsServer({ config: mutual(), connectOptions: { tls } });
        const lines: string[] = [];
        const nats = startNats({
          servers: [server.url],
          name: "test",
          credentials: null,
          tls: { caFile: at("ca.pem"), certFile: file && at(`${file}.pem`), keyFile: file && at(`${file}.key`) },
          inboxPrefix: "_INBOX",
          timeoutMs: 200,
          log: pino({ level: "warn" }, { write: (line: string) => lines.push(line) }),
        });
        await until("it has tried again", () => times(server, /TLS handshake error/) > 1);
        await until("it is logged", () => lines.length > 1);
        expect(JSON.parse(lines[0] as string)).toMatchObject({ level: 40, msg: "cannot connect to NATS" });
        expect(nats.lastError()).toContain("refused the certificate");
        await nats.stop();
        await server.stop();
      });

    test("a service whose certificate is refused goes on, and publishes when the right one is in its place", async () => {
      const server = await startNatsServer({ config: mutual(), connectOptions: { tls } });
      await Bun.$`cp ${at("stranger.pem")} ${at("svca.pem")} && cp ${at("stranger.key")} ${at("svca.key")}`;
      const service = await refused(server, own("svca"));
      expect(service.reason).toContain("refused the certificate");
      await Bun.$`cp ${at("client.pem")} ${at("svca.pem")} && cp ${at("client.key")} ${at("svca.key")}`;
      const client = await server.connect();
      await until("both are there", async () => (await countOf(client, "svca_parcels")) === 2);
      await service.stop();
      await server.stop();
    });

    test("a server of a stranger is not believed", async () => {
      const server = await startNatsServer({ config: served(""), connectOptions: { tls } });
      const service = await refused(server, { NATS_TLS_CA: at("other-ca.pem") });
      expect(service.reason).toMatch(/certificate/i);
      await service.stop();
      const plain = await startNatsServer();
      const encrypted = await refused(plain, { NATS_TLS_CA: at("ca.pem") });
      expect(encrypted.reason).toMatch(/tls/i);
      await encrypted.stop();
      await plain.stop();
      await server.stop();
    });
  });
});
