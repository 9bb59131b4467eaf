// What postgres.js, with our patch, does where a connection ends too early.
import { expect, test } from "bun:test";
import postgres from "postgres";
import { createTestDatabase } from "../support/postgres.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

/** What became of a query. */
function outcome(query: PromiseLike<unknown>): Promise<string> {
  const unanswered = new Promise<string>((resolve) => setTimeout(resolve, 2_000, "unanswered"));
  const settled = Promise.resolve(query).then(
    () => "answered",
    (error: { code: string }) => error.code,
  );
  return Promise.race([settled, unanswered]);
}

// The library without our patch throws past the caller here, where nothing can catch it.
test("a statement on a connection that has just closed throws nothing past its caller", async () => {
  const url = await createTestDatabase();
  const sql = postgres(url, { max: 1, onnotice() {} });
  const killer = postgres(url, { max: 1 });
  const reserved = await sql.reserve();
  const [row] = await reserved<{ pid: number }[]>`select pg_backend_pid() as pid`;
  await killer`select pg_terminate_backend(${row?.pid as number})`;
  const outcomes = [await outcome(reserved`select 1`), await outcome(reserved`select ${1}::int`)];
  for (const code of outcomes)
    expect(code).toBeOneOf(["CONNECTION_CLOSED", "ECONNRESET", "EPIPE", "57P01", "answered"]);
  // The pool has its place back.
  expect(await outcome(sql`select 1`)).toBe("answered");
  await sql.end();
  await killer.end();
});

// Without our patch the next statement's rows stand behind as many holes as the broken one had rows.
test.each([
  ["fails", "1 / (40000 - n)"],
  ["ends with its connection", "case when n = 40000 then pg_terminate_backend(pg_backend_pid())::int end"],
])("a statement that %s in the middle of its rows leaves nothing to the next one", async (_, column) => {
  const sql = postgres(await createTestDatabase(), { max: 1, onnotice() {} });
  const broken = sql.unsafe(`select n, ${column} from generate_series(1, 50000) n`);
  await expect(broken.then(() => "answered")).rejects.toThrow();
  const rows = await sql<{ n: number }[]>`select n from generate_series(1, 5) n`;
  expect(rows.length).toBe(5);
  expect(rows.map((row) => row.n)).toEqual([1, 2, 3, 4, 5]);
  await sql.end();
});

/** Lets the start-up of every connection fail, or not: what a server does that is itself starting or stopping. */
async function setRefusing(url: string, refusing: boolean): Promise<void> {
  const maintenance = postgres(Object.assign(new URL(url), { pathname: "/postgres" }).href, { max: 1 });
  const name = new URL(url).pathname.slice(1);
  await maintenance.unsafe(`alter database ${name} allow_connections ${!refusing}`);
  await maintenance.end();
}

/** Ends the connection in the middle of a statement. */
const breakConnection = (sql: postgres.Sql) =>
  outcome(sql`select n, pg_terminate_backend(pg_backend_pid()) from generate_series(1, 9) n`);

// Without our patch they are not told, and the library tries to connect thousands of times a second.
test.each([true, false])(
  "statements behind one that broke are told that the start-up failed (fetch_types: %p)",
  async (fetch_types) => {
    const url = await createTestDatabase();
    const sql = postgres(url, { max: 1, fetch_types, onnotice() {}, backoff: () => 0.01 });
    await sql`select 1`;
    await setRefusing(url, true);
    expect(await breakConnection(sql)).toBe("CONNECTION_CLOSED");
    const statements = [1, 2, 3].map((n) => outcome(sql`select ${n}::int`));
    expect(await Promise.all(statements)).toEqual(["55000", "55000", "55000"]);
    await setRefusing(url, false);
    expect(await outcome(sql`select 1`)).toBe("answered");
    await sql.end();
  },
);

test("a pool ends after its last statement broke", async () => {
  const sql = postgres(await createTestDatabase(), { max: 1, onnotice() {} });
  expect(await breakConnection(sql)).toBe("CONNECTION_CLOSED");
  expect(await outcome(sql.end())).toBe("answered");
});

async function createProxiedDatabase(): Promise<{ proxy: TcpProxy; url: string }> {
  const url = new URL(await createTestDatabase());
  const proxy = await startTcpProxy(Number(url.port));
  url.port = String(proxy.port);
  return { proxy, url: url.href };
}

async function openBehindProxy(): Promise<{ proxy: TcpProxy; open: (max: number) => postgres.Sql }> {
  const { proxy, url } = await createProxiedDatabase();
  const options = { fetch_types: false, connect_timeout: 0, backoff: () => 0.2 };
  return { proxy, open: (max) => postgres(url, { ...options, max }) };
}

// Without our patch it connects after its end, and nobody ever closes that connection.
test("a pool that ends while it waits to connect again does not connect any more", async () => {
  const { proxy, open } = await openBehindProxy();
  const [ended, witness] = [open(3), open(1)];
  const ask = (sql: postgres.Sql) => Promise.all([1, 2, 3].map(() => outcome(sql`select 1`)));
  await Promise.all([ask(ended), ask(witness)]);
  await proxy.set("refuse");
  proxy.cut();
  await Promise.all([ask(ended), ask(witness)]);
  // Both wait before they try again, the witness a little longer.
  const waiting = ask(ended);
  await proxy.set("pass");
  const answers = ask(witness);
  await ended.end({ timeout: 0 });
  expect(await waiting).toEqual(["CONNECTION_DESTROYED", "CONNECTION_DESTROYED", "CONNECTION_DESTROYED"]);
  expect(await answers).toEqual(["answered", "answered", "answered"]);
  expect(proxy.connections()).toBe(1);
  await witness.end();
  await proxy.stop();
});

test("a pool that ends while it connects leaves no connection behind", async () => {
  const { proxy, open } = await openBehindProxy();
  for (let n = 0; n < 10; n++) {
    const sql = open(3);
    const waiting = [1, 2, 3].map(() => outcome(sql`select 1`.execute()));
    // A little later each time: before the socket is made, while it opens, while it logs in.
    for (let turn = 0; turn < n; turn++) await new Promise((resolve) => setImmediate(resolve));
    await sql.end({ timeout: 0 });
    for (const code of await Promise.all(waiting)) expect(code).toBeOneOf(["CONNECTION_DESTROYED", "answered"]);
  }
  const witness = open(1);
  expect(await outcome(witness`select 1`)).toBe("answered");
  await until("the others are gone", () => proxy.connections() === 1);
  await witness.end();
  await proxy.stop();
});

/** Opens a connection, and stops its answers in the moment in which it asks with this text. */
async function openUnanswered(text: string, options: Record<string, unknown>) {
  const { proxy, url } = await createProxiedDatabase();
  const asked = Promise.withResolvers<void>();
  const debug = (_connection: number, query: string) => {
    if (!query.includes(text)) return;
    void proxy.set("stall");
    asked.resolve();
  };
  return { proxy, asked: asked.promise, sql: postgres(url, { max: 1, connect_timeout: 0, debug, ...options }) };
}

// Without our patch the types' query is rejected with nobody there to handle it.
test("a pool that ends while a new connection asks for types tells the statements that wait, and nobody else", async () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on("unhandledRejection", note);
  const { proxy, asked, sql } = await openUnanswered("pg_catalog.pg_type", {});
  const waiting = [outcome(sql.begin((own) => own`select 1`)), outcome(sql`select 2`)];
  await asked;
  await sql.end({ timeout: 0 });
  expect(await Promise.all(waiting)).toEqual(["CONNECTION_DESTROYED", "CONNECTION_DESTROYED"]);
  // Told of at the end of the turn.
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", note);
  expect(unhandled).toEqual([]);
  await proxy.stop();
});

// Without our patch its rollback waits for the answer to the statement before it, for as long as the connection seems to be there.
test("a pool that ends tells a transaction whose statement gets no answer", async () => {
  const { proxy, asked, sql } = await openUnanswered("::int", { fetch_types: false });
  const transaction = outcome(sql.begin((own) => own`select ${1}::int`));
  await asked;
  await sql.end({ timeout: 0 });
  expect(await transaction).toBe("CONNECTION_DESTROYED");
  await proxy.stop();
});

test("a pool that ends lets a transaction under way commit, and tells so", async () => {
  const sql = postgres(await createTestDatabase(), { max: 1, onnotice() {} });
  const begun = Promise.withResolvers<void>();
  const ending = Promise.withResolvers<void>();
  const transaction = outcome(
    sql.begin(async (own) => {
      await own`select ${1}::int`;
      begun.resolve();
      await ending.promise;
    }),
  );
  await begun.promise;
  const ended = sql.end();
  ending.resolve();
  expect(await transaction).toBe("answered");
  await ended;
});
