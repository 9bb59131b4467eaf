// The configuration: what is wrong with it is one line that names the variable.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { ConfigError, readConfig } from "../src/config.ts";
import { createTestDatabase } from "./support/postgres.ts";

const main = new URL("../src/main.ts", import.meta.url).pathname;
const folder = await mkdtemp(join(tmpdir(), "sluice-config-"));
afterAll(() => rm(folder, { recursive: true }));

async function run(env: Record<string, string>): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn([process.execPath, main, "start"], {
    cwd: folder,
    // Without Bun's own cache, which would stand in the folder.
    env: { PATH: process.env.PATH, HOME: folder, BUN_RUNTIME_TRANSPILER_CACHE_PATH: "0", PORT: "0", ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

const bad: [name: string, ...values: string[]][] = [
  ["HOST", "two words", "http://x", "a/b"],
  ["PORT", "http", "-1", "65536", "80.5", "0x50", "1e3", "99999999999999999999"],
  ["DATABASE_URL", "localhost", "mysql://h/db", "postgres://", "postgres://u:p@h:port/db", "postgres://u:%zz@h/db"],
  ["DATABASE_URL", "postgres://u:p ss@h/db", "postgres://u:p@h:99999/db"],
  ["STORAGE", "disk", "Memory"],
  ["DATA_DIR", "x".repeat(1_001)],
  ["EMBEDDED_TCP", "yes", "1", "TRUE"],
  ["DATABASE_SCHEMA", "Upper", "1st", "a-b", 'a"b', "x".repeat(57), "x".repeat(64), "pg_own", "information_schema"],
  ["AUTO_MIGRATE", "on"],
  ["SERVICE_NAME", "Shop", "a b", "-a", "x".repeat(64), "a/b"],
  ["LOG_LEVEL", "loud", "INFO"],
  ["DATABASE_POOL_SIZE", "0", "201", "many"],
  ["DATABASE_TIMEOUT", "15", "99ms", "11m", "1.5s", "15 s", "-1s", "15S"],
  ["APPEND_BATCH_EVENTS", "0", "10001"],
  ["APPEND_BATCH_BYTES", "999", "1kB"],
  ["MAX_BODY_BYTES", "999", "64000001"],
  ["BODY_TIMEOUT", "0s", "99ms", "11m"],
  ["MAX_EVENT_STREAMS", "0", "1000001"],
  ["HEARTBEAT", "0s", "121s"],
  ["SSE_RETRY", "0s", "2"],
  ["SSE_BUFFER_BYTES", "1023"],
  ["TAIL_RING_BYTES", "0", "4000000001"],
  ["PARTITION_SIZE", "99", "1000000001"],
  ["IDEMPOTENCY_WINDOW", "999ms", "31d"],
  ["LIVE_WINDOW", "59s", "31d"],
  ["SHUTDOWN_TIMEOUT", "99ms", "11m"],
  ["LEASE_DURATION", "299ms", "11m"],
  ["OUTBOX_INTERVAL", "9ms", "61s", "100"],
  ["GIN_INDEX", "maybe"],
  [
    "NATS_URL",
    "localhost:4222",
    "http://h:4222",
    "nats://",
    "nats://h:0",
    "nats://h:70000",
    "nats://u:p@h",
    "nats://h,tcp://i",
  ],
  ["NATS_USER", "alone"],
  ["NATS_PASSWORD", "alone"],
  ["NATS_CREDS", "/nowhere/file.creds"],
  ["NATS_TLS_CA", "/nowhere/ca.pem"],
  ["NATS_TLS_CERT", "/nowhere/cert.pem"],
  ["NATS_INBOX_PREFIX", "a b", "a.", "*", "a.>"],
  ["NATS_STREAM", "{service}.{stream}", "{type}", "a b"],
  ["NATS_SUBJECT", "{type}.{stream}", "a..b", "a.>"],
  ["NATS_MODE", "batch"],
  ["NATS_TOPOLOGY", "none"],
  ["NATS_CHECK_INTERVAL", "999ms", "61m", "30"],
  ["NATS_REPLICAS", "0", "6"],
  ["NATS_STORAGE", "tape"],
  ["NATS_MAX_AGE", "7", "500ms", "36501d"],
  ["NATS_MAX_BYTES", "-1", "1kB"],
  ["NATS_MAX_EVENTS", "many"],
  ["WORKERS", "0", "65", "many"],
  ["CORS_ORIGINS", "*", "app.example.com", "https://app.example.com/", "https://a.example https://b.example", "null"],
];

function errorOf(env: Record<string, string>): Error {
  try {
    readConfig(env);
  } catch (error) {
    return error as Error;
  }
  throw new Error(`${JSON.stringify(env)} was accepted`);
}

describe("a bad value is refused in one line that names its variable:", () => {
  for (const [name, ...values] of bad) {
    test(`${name} ${values.map((value) => value.slice(0, 20)).join(" | ")}`, () => {
      for (const value of values) {
        const error = errorOf({ [name]: value });
        expect(error).toBeInstanceOf(ConfigError);
        expect(error.message).toStartWith(name);
        expect(error.message).not.toContain("\n");
      }
    });
  }
});

test("a value with a line break is refused in one line", () => {
  for (const name of ["PORT", "SERVICE_NAME", "LOG_LEVEL", "HOST"]) {
    expect(errorOf({ [name]: "a\nb" }).message).toMatch(new RegExp(`^${name}[^\n]*$`));
  }
});

test("no password is repeated", () => {
  expect(errorOf({ DATABASE_URL: "postgres://u:secret@h:port/db" }).message).not.toContain("secret");
  expect(errorOf({ NATS_URL: "nats://u:secret@h:4222" }).message).not.toContain("secret");
  expect(errorOf({ NATS_PASSWORD: "secret" }).message).not.toContain("secret");
});

test("nothing set, and everything empty, are the defaults", () => {
  const defaults = readConfig({});
  expect(readConfig(Object.fromEntries(bad.map(([name]) => [name, ""])))).toEqual(defaults);
  expect(defaults).toMatchObject({
    host: "127.0.0.1",
    port: 8_080,
    databaseUrl: null,
    modules: ["users", "invitations", "orders", "fulfillment"].map((name) =>
      expect.stringMatching(new RegExp(`src/samples/${name}\\.ts$`)),
    ),
    storage: "embedded",
    schema: "event_streaming",
    autoMigrate: true,
    serviceName: "sluice",
    logLevel: "info",
  });
});

test("units of durations are read", () => {
  const timeout = (value: string) => readConfig({ IDEMPOTENCY_WINDOW: value }).idempotencyKeysMs;
  expect(["1500ms", "30s", "5m", "2h", "7d"].map(timeout)).toEqual([1_500, 30_000, 300_000, 7_200_000, 604_800_000]);
});

test("a URL of several hosts, of a socket, or with an encoded password is accepted", () => {
  for (const url of [
    "postgres://h/db",
    "postgresql://u:p%40ss@h:5432/db?sslmode=require",
    "postgres://u:p@h1:5432,h2:5433/db",
    "postgres://u:p@[::1]:5432/db",
    "postgres://u@%2Fvar%2Frun%2Fpostgresql/db",
  ]) {
    expect(readConfig({ DATABASE_URL: url }).databaseUrl).toBe(url);
  }
});

test("the program says what is wrong in one line and exits with 2, before it touches anything", async () => {
  const cases: [name: string, value: string][] = [
    ["PORT", "http"],
    ["DATABASE_URL", "postgres://u:secret@h:port/db"],
    ["HEARTBEAT", "15"],
    ["LOG_LEVEL", "loud"],
  ];
  const results = await Promise.all(cases.map(([name, value]) => run({ [name]: value })));
  for (const [i, { code, out, err }] of results.entries()) {
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(new RegExp(`^${cases[i]?.[0]} must be [^\n]+\n$`));
    expect(err).not.toContain("secret");
  }
  expect(await Array.fromAsync(new Bun.Glob("*").scan({ cwd: folder, dot: true, onlyFiles: false }))).toEqual([]);
});

describe("with AUTO_MIGRATE=false", () => {
  /** A database in which the SQL was run. */
  async function databaseAfter(statement: string): Promise<string> {
    const url = await createTestDatabase();
    const sql = postgres(url, { max: 1, onnotice() {} });
    await sql.unsafe(statement);
    await sql.end();
    return url;
  }

  test("an empty database stops the start with its version and the command, and stays empty", async () => {
    const url = await databaseAfter("drop schema event_streaming cascade");
    const { code, out, err } = await run({ DATABASE_URL: url, AUTO_MIGRATE: "false", LOG_LEVEL: "silent" });
    expect([code, out]).toEqual([1, ""]);
    expect(err).toMatch(
      /^Schema event_streaming is at version 0, this program needs version \d+: .*\.\/scripts\/migrate.*\n$/,
    );
    const sql = postgres(url, { max: 1 });
    expect(await sql`select from pg_namespace where nspname = 'event_streaming'`).toHaveLength(0);
    await sql.end();
  });

  test("outdated functions stop it too", async () => {
    const url = await databaseAfter("update event_streaming.migrations set checksum = 'old' where version = 0");
    const { code, err } = await run({ DATABASE_URL: url, AUTO_MIGRATE: "false", LOG_LEVEL: "silent" });
    expect(code).toBe(1);
    expect(err).toMatch(
      /^Schema event_streaming is at version \d+, but its functions are outdated: .*\.\/scripts\/migrate.*\n$/,
    );
  });
});

test("a database that is not there, and a port that is taken, end the start with 1 and a line that says so", async () => {
  const missing = new URL(await createTestDatabase());
  missing.pathname = "/no_such_database";
  const nobody = Bun.serve({ port: 0, fetch: () => new Response() });
  const [away, gone, taken] = await Promise.all([
    run({ DATABASE_URL: "postgres://u:secret@127.0.0.1:1/db", LOG_LEVEL: "silent" }),
    run({ DATABASE_URL: missing.href, LOG_LEVEL: "silent" }),
    run({ STORAGE: "memory", DATABASE_URL: "", PORT: String(nobody.port), LOG_LEVEL: "silent" }),
  ]);
  nobody.stop(true);
  expect([away.code, gone.code, taken.code]).toEqual([1, 1, 1]);
  expect(away.err).toMatch(/ECONNREFUSED/);
  expect(away.err).not.toContain("secret");
  expect(gone.err).toMatch(/no_such_database/);
  expect(taken.err).toMatch(new RegExp(`${nobody.port}|in use`));
});

test("every variable that is read is documented, and no other", async () => {
  const read = new Set<string>();
  const env = new Proxy<Record<string, string | undefined>>(
    {},
    {
      get(_, name) {
        read.add(String(name));
        return undefined;
      },
    },
  );
  readConfig(env);
  const table = await Bun.file(new URL("../docs/configuration.md", import.meta.url)).text();
  const documented = table
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .flatMap((line) => [...(line.split("|")[1] as string).matchAll(/`([A-Z_]+)`/g)].map((match) => match[1] as string));
  expect(documented.sort()).toEqual([...read].sort());
});
