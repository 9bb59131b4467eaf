// Who may not do something is refused, or is not shown it: commands and the outbox, asked by principals with few rights.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { createLog } from "../../src/base/log.ts";
import { everyone, type Principal } from "../../src/base/principal.ts";
import { createBodyReader } from "../../src/http/body.ts";
import { commandsHandlers } from "../../src/http/commands.ts";
import type { Handler } from "../../src/http/context.ts";
import { outboxHandlers } from "../../src/http/outbox.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import { createAppender } from "../../src/stream/append.ts";
import { createCommandRunner } from "../../src/workflow/commands/command-runner.ts";
import { insertRow } from "../support/outbox.ts";
import { createTestDatabase, testSchema } from "../support/postgres.ts";
import { noValidation } from "../support/schemas.ts";
import { openSql } from "../support/sql.ts";

const log = createLog("silent", "test");
const body = createBodyReader({ maxBytes: 10_000, timeoutMs: 10_000 });
let database: Database;
let ids: string[];
let commands: ReturnType<typeof commandsHandlers>;
let outbox: ReturnType<typeof outboxHandlers>;
const ran: string[] = [];
beforeAll(async () => {
  const connection = await createTestDatabase();
  database = createDatabase({
    ...{ connection, schema: testSchema, poolSize: 2, commandTimeoutMs: 15_000, appendsInFlight: 1, claimsInFlight: 2 },
    log,
  });
  const { appends, reads, claims } = database;
  const appender = createAppender({
    ...{ pool: appends, log, maxBatchEvents: 10, maxBatchBytes: 10_000, batchesInFlight: 1, maxWaitingBytes: 10_000 },
    onAppended() {},
    onUnknown() {},
    onNoPartition: async () => {},
    validation: noValidation,
  });
  const runnable = ["open-door", "shut-door"].map((name) => ({
    ...{ name, description: null, body: Type.Object({}), result: null },
    execute: async (_body: unknown, { commit }: { commit: (parts: [], result: null) => Promise<unknown> }) => {
      ran.push(name);
      await commit([], null);
    },
  }));
  const runner = createCommandRunner({ commands: runnable, appender, reads, writes: claims, log });
  commands = commandsHandlers({ commands: runnable, runner, body, log });
  outbox = outboxHandlers({ reads, writes: claims, body, wake() {}, log });

  const sql = openSql(connection);
  ids = [];
  for (const stream of ["mine", "theirs"]) ids.push(String(await insertRow(sql, { stream })));
  await sql`update outbox set failure = 'no', failed_at = now()`;
  await sql.end();
});
afterAll(async () => {
  body.stop();
  await database.stop();
});

/** Somebody who has a right only to what is named. */
const only = (right: "canRead" | "canAppend" | "canManage", name: string): Principal => ({
  ...{ name: "somebody", canRead: () => false, canAppend: () => false, canManage: () => false },
  [right]: (asked: string) => asked === name,
});

/** What a handler answers; the code of the problem where it refuses. */
async function ask(handler: Handler, principal: Principal, params: Record<string, string> = {}, given?: unknown) {
  const request = new Request(
    "http://localhost/",
    given === undefined ? {} : { method: "POST", body: JSON.stringify(given) },
  );
  try {
    return await (await handler({ request, params, principal, requestId: () => "r" })).json();
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test("a command is run for whom it is allowed, and for nobody else", async () => {
  const somebody = only("canAppend", "sluice.commands.open-door");
  expect(await ask(commands.run, somebody, { command: "shut-door" }, {})).toBe("forbidden");
  expect(await ask(commands.run, somebody, { command: "unknown" }, {})).toBe("forbidden");
  expect(ran).toEqual([]);
  expect(await ask(commands.run, somebody, { command: "open-door" }, {})).toMatchObject({ events: [] });
  expect(await ask(commands.run, everyone, { command: "shut-door" }, {})).toMatchObject({ events: [] });
  expect(ran).toEqual(["open-door", "shut-door"]);
});

test("who asks for the commands is shown those that they may run", async () => {
  const names = async (principal: Principal) =>
    ((await ask(commands.list, principal)) as { commands: { name: string }[] }).commands.map(({ name }) => name);
  expect(await names(only("canAppend", "sluice.commands.open-door"))).toEqual(["open-door"]);
  expect(await names(only("canRead", "sluice.commands.open-door"))).toEqual([]);
  expect(await names(everyone)).toEqual(["open-door", "shut-door"]);
});

test("how the outbox stands is told to whom it is allowed", async () => {
  expect(await ask(outbox.get, only("canRead", "mine"))).toBe("forbidden");
  expect(await ask(outbox.get, only("canRead", "sluice.outbox"))).toMatchObject({ failed: { count: "2" } });
  expect(await ask(outbox.get, everyone)).toMatchObject({ failed: { count: "2" } });
});

test("rows that failed are shown by the streams that one may read, and tried again or discarded by those that one may manage", async () => {
  const shown = async (principal: Principal) =>
    ((await ask(outbox.failures, principal)) as { failures: { stream: string }[] }).failures.map(
      ({ stream }) => stream,
    );
  expect(await shown(only("canRead", "mine"))).toEqual(["mine"]);
  expect(await shown(only("canManage", "mine"))).toEqual([]);
  expect(await ask(outbox.retry, only("canRead", "mine"), {}, { ids })).toEqual({ retried: 0 });
  expect(await ask(outbox.retry, only("canManage", "mine"), {}, { all: true })).toEqual({ retried: 1 });
  expect(await ask(outbox.discard, only("canManage", "mine"), {}, { ids })).toEqual({ discarded: 0 });
  expect(await shown(everyone)).toEqual(["theirs"]);
  expect(await ask(outbox.discard, only("canManage", "theirs"), {}, { ids })).toEqual({ discarded: 1 });
});
