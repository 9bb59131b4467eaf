// The embedded Postgres starts, survives its service, recovers from crashes, and stops.
import { afterAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdir, mkdtemp, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { inspectProcess } from "../../src/storage/embedded/process.ts";
import { type Embedded, type EmbeddedOptions, startEmbedded } from "../../src/storage/embedded.ts";

const log = { info() {}, warn() {}, error() {} };
const folders: string[] = [];
const started: Embedded[] = [];
const services: ChildProcess[] = [];

afterAll(async () => {
  for (const service of services) if (service.exitCode === null) service.kill("SIGKILL");
  await Promise.all(started.map((embedded) => embedded.stop()));
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

async function newFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "sluice-test-")));
  folders.push(folder);
  return join(folder, "data");
}

async function start(options: Partial<EmbeddedOptions>): Promise<Embedded> {
  const embedded = await startEmbedded({ fsync: false, log, ...options });
  started.push(embedded);
  return embedded;
}

async function query(embedded: Embedded, text: string): Promise<Record<string, unknown>[]> {
  const sql = postgres({ ...embedded.connection, max: 1, onnotice: () => {} });
  try {
    return await sql.unsafe(text);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function until<T>(condition: () => Promise<T> | T, timeoutMs = 40_000): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await Promise.resolve(condition()).catch(() => undefined);
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`Not fulfilled in ${timeoutMs} ms: ${condition}`);
    await sleep(20);
  }
}

/** Starts a process that runs the embedded Postgres on the folder until it is killed. */
async function startService(dataDir?: string): Promise<{ child: ChildProcess; dataDir: string; pid: number }> {
  const module = join(import.meta.dir, "../../src/storage/embedded.ts");
  const script = `
    const { startEmbedded } = await import(${JSON.stringify(module)});
    const log = { info() {}, warn() {}, error() {} };
    const dataDir = ${JSON.stringify(dataDir ?? null)};
    const embedded = await startEmbedded({ ...(dataDir && { dataDir }), fsync: false, log });
    console.log(JSON.stringify({ pid: embedded.pid, dataDir: embedded.dataDir }));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  services.push(child);
  const [line] = await once(child.stdout as NodeJS.ReadableStream, "data");
  return { child, ...JSON.parse(String(line)) };
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

test("a fresh folder is made, and its data is there after a stop and a start", async () => {
  const dataDir = await newFolder();
  const first = await start({ dataDir });
  expect(first.takenOver).toBe(false);
  await query(first, "create table kept as select 1 as n");
  const [settings] = await query(
    first,
    `select current_setting('server_encoding') as encoding, current_setting('listen_addresses') as addresses,
            (select datcollate || ' ' || datlocprovider::text from pg_database where datname = current_database()) as locale`,
  );
  expect(settings).toEqual({ encoding: "UTF8", addresses: "", locale: "C b" });
  const { pid } = first;
  await first.stop();
  expect(first.pid).toBeUndefined();
  expect(await inspectProcess(pid as number)).toBeUndefined();
  expect(await stat(first.connection.host).catch(() => "gone")).toBe("gone");

  const second = await start({ dataDir });
  expect(await query(second, "select n from kept")).toEqual([{ n: 1 }]);
  await Promise.all([second.stop(), second.stop()]);
});

test("only its owner can enter the socket's folder, whose path stays short for a deep data folder", async () => {
  const dataDir = join(await newFolder(), "deep".repeat(40), "deep".repeat(40));
  const embedded = await start({ dataDir });
  expect((await stat(embedded.connection.host)).mode & 0o777).toBe(0o700);
  expect(await query(embedded, "select 1 as n")).toEqual([{ n: 1 }]);
  await embedded.stop();
});

test("over TCP a password is asked for", async () => {
  const embedded = await start({ dataDir: await newFolder(), tcp: true });
  const sql = postgres(embedded.tcpUrl as string, { max: 1 });
  expect([...(await sql`select 1 as n`)]).toEqual([{ n: 1 }]);
  await sql.end();
  const stranger = postgres({ ...embedded.connection, host: "127.0.0.1", password: "guess", max: 1 });
  expect(await stranger`select 1`.catch((error) => error.code)).toBe("28P01");
  await stranger.end();
  await embedded.stop();
});

test("after a kill -9 of the service the next one takes Postgres over, with its data", async () => {
  const dataDir = await newFolder();
  const service = await startService(dataDir);
  const other = await startEmbedded({ dataDir, fsync: false, log }).catch((error) => error.message);
  expect(other).toContain(`in use by a running service (process ${service.child.pid})`);
  await kill(service.child);

  const next = await start({ dataDir });
  expect(next.takenOver).toBe(true);
  expect(next.pid).toBe(service.pid);
  await query(next, "create table kept as select 1 as n");

  // Found dead while it is not our child: noticed by looking.
  process.kill(service.pid, "SIGKILL");
  await until(() => next.pid !== undefined && next.pid !== service.pid);
  expect(await until(() => query(next, "select n from kept"))).toEqual([{ n: 1 }]);
  await next.stop();
}, 120_000);

test("a Postgres that was left behind with other settings is replaced", async () => {
  const dataDir = await newFolder();
  const service = await startService(dataDir);
  await kill(service.child);
  const next = await start({ dataDir, maxConnections: 30 });
  expect(next.takenOver).toBe(false);
  expect(await inspectProcess(service.pid)).toBeUndefined();
  expect(await query(next, "show max_connections")).toEqual([{ max_connections: "30" }]);
  await next.stop();
}, 120_000);

test("a second use of the same folder in one process is refused", async () => {
  const dataDir = await newFolder();
  const first = await start({ dataDir });
  await expect(start({ dataDir })).rejects.toThrow("in use by this process itself");
  expect(await query(first, "select 1 as n")).toEqual([{ n: 1 }]);
  await first.stop();
});

test("a crash leaves no trap: stale pid file, reused pid, stale lock, unfinished initdb", async () => {
  const dataDir = await newFolder();
  const draft = join(dataDir, "postgres.new-killed");
  await mkdir(join(draft, "base"), { recursive: true });
  await writeFile(join(draft, "PG_VERSION"), "18\n");
  await writeFile(join(dataDir, "service.lock"), "");
  const first = await start({ dataDir });
  expect(await stat(draft).catch(() => "gone")).toBe("gone");
  const pidFile = join(dataDir, "postgres", "postmaster.pid");
  const owner = await stat(pidFile);
  const left = await readFile(pidFile, "utf8");
  const dead = first.pid as number;
  await query(first, "create table kept as select 1 as n");
  await first.stop();

  // This test's own process stands for whoever got the pid; so does the parent, as a pid that is not Postgres's parent.
  for (const pid of [dead, process.pid, process.ppid]) {
    await writeFile(pidFile, left.replace(/^\d+/, String(pid)));
    await mkdir(first.connection.host, { mode: 0o700 });
    await chown(first.connection.host, owner.uid, owner.gid);
    await writeFile(join(first.connection.host, ".s.PGSQL.5432.lock"), left.replace(/^\d+/, String(pid)));
    await writeFile(join(dataDir, "service.lock"), JSON.stringify({ pid, started: "before the boot" }));
    const next = await start({ dataDir });
    expect(next.takenOver).toBe(false);
    expect(await query(next, "select n from kept")).toEqual([{ n: 1 }]);
    await next.stop();
  }
}, 120_000);

test("Postgres is restarted at the same address when it is killed, also twice", async () => {
  const embedded = await start({ dataDir: await newFolder(), tcp: true });
  const sql = postgres(embedded.tcpUrl as string, { max: 2 });
  await sql`create table kept as select 1 as n`;
  for (let round = 0; round < 2; round++) {
    const killed = embedded.pid as number;
    process.kill(killed, "SIGKILL");
    await until(() => embedded.pid !== undefined && embedded.pid !== killed);
    expect([...(await until(() => sql`select n from kept`))]).toEqual([{ n: 1 }]);
  }
  await sql.end({ timeout: 1 });
  await embedded.stop();
}, 120_000);

test("stop ends quickly when Postgres is dead already, and when it is just being restarted", async () => {
  for (const noticed of [false, true]) {
    const embedded = await start({ dataDir: await newFolder() });
    process.kill(embedded.pid as number, "SIGKILL");
    if (noticed) await until(() => embedded.pid === undefined);
    const before = Date.now();
    await embedded.stop();
    expect(Date.now() - before).toBeLessThan(5_000);
    expect(embedded.pid).toBeUndefined();
  }
});

test("a throw-away folder is removed by stop, and that of a killed service by the next start", async () => {
  const service = await startService();
  await kill(service.child);
  const embedded = await start({});
  expect(await stat(service.dataDir).catch(() => "gone")).toBe("gone");
  expect(await inspectProcess(service.pid)).toBeUndefined();
  expect(await query(embedded, "show fsync")).toEqual([{ fsync: "off" }]);
  await embedded.stop();
  expect(await stat(embedded.dataDir).catch(() => "gone")).toBe("gone");
}, 120_000);

test("a folder of another Postgres version, or of something else, is left alone", async () => {
  const dataDir = await newFolder();
  await mkdir(join(dataDir, "postgres"), { recursive: true });
  await writeFile(join(dataDir, "postgres", "PG_VERSION"), "13\n");
  await expect(startEmbedded({ dataDir, log })).rejects.toThrow(
    "was made by Postgres 13, the embedded one is Postgres 18",
  );
  await rm(join(dataDir, "postgres", "PG_VERSION"));
  await writeFile(join(dataDir, "postgres", "diary.txt"), "dear diary");
  const refusal = await startEmbedded({ dataDir, log }).catch((error) => error.message);
  expect(refusal).toContain("is not a database folder");
  expect(await readFile(join(dataDir, "postgres", "diary.txt"), "utf8")).toBe("dear diary");
});
