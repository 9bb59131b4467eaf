// Two services on one database: one order of positions and offsets, whatever they append at the same time.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { createPool } from "../../src/storage/pool.ts";
import { createAppender } from "../../src/stream/append.ts";
import { append, expectProblem, send } from "../support/client.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { noValidation } from "../support/schemas.ts";
import { type Service, startService } from "../support/service.ts";
import { logDefects, openSql } from "../support/sql.ts";

let services: [Service, Service];
let sql: postgres.Sql;
beforeAll(async () => {
  const one = await startService();
  services = [one, await startService({ DATABASE_URL: one.databaseUrl })];
  sql = openSql(one.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  for (const service of services) await service.stop();
});

test("many new streams, in opposing orders of name, are appended to without deadlock, gap or duplicate", async () => {
  const names = Array.from({ length: 120 }, (_, i) => `new-${String(i).padStart(3, "0")}`);
  const rounds = 3;
  const answers = await Promise.all(
    services.flatMap((service, i) =>
      Array.from({ length: rounds }, () =>
        (i === 0 ? names : names.toReversed()).map((name) =>
          append(service.url, name, [{ type: "A" }, { type: "B", data: "x".repeat(50) }]),
        ),
      ).flat(),
    ),
  );
  expect(answers.filter((answer) => answer.status !== 201)).toEqual([]);
  expect(await logDefects(sql)).toEqual([]);
  const rows =
    await sql`select count(*)::int as n from events e join streams s on s.id = e.stream_id where s.name like 'new-%' group by s.id`;
  expect(rows.map((row) => row.n)).toEqual(Array<number>(120).fill(2 * 2 * rounds));
});

test("each acknowledged event stands where the answer said", async () => {
  const answers = await Promise.all(
    Array.from({ length: 80 }, (_, i) =>
      append(services[i % 2]?.url as string, `stated-${i % 3}`, [
        { type: "A", id: `${i}-a` },
        { type: "A", id: `${i}-b` },
      ]),
    ),
  );
  const rows =
    await sql`select s.name, e.id, e."offset", e.position from events e join streams s on s.id = e.stream_id where s.name like 'stated-%'`;
  const places = new Map(rows.map((row) => [row.id as string, row]));
  expect(places.size).toBe(160);
  for (const { body } of answers) {
    for (const event of body.events) expect(places.get(event.id)?.offset).toBe(event.offset);
    expect(String(places.get(body.events[1]?.id as string)?.position)).toBe(body.lastPosition);
  }
});

test("of writers of two services at one expected version exactly one wins each round", async () => {
  for (let round = 0; round < 5; round++) {
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, i) =>
        append(services[i % 2]?.url as string, "versions", { type: "A" }, { "if-match": `"${round - 1}"` }),
      ),
    );
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status !== 201) {
        expect(expectProblem(answer, 412, "wrong-expected-version").actual).toBe(String(round));
      }
    }
  }
});

test("what one service stored the other reads at once", async () => {
  for (let i = 0; i < 20; i++) {
    const { body } = await append(services[i % 2]?.url as string, "seen", { type: "A" });
    const read = await send<{ events: { offset: string }[] }>(
      `${services[(i + 1) % 2]?.url}/api/streams/seen/events?from=${body.firstOffset}`,
    );
    expect(read.body.events.map((event) => event.offset)).toEqual([body.firstOffset]);
  }
});

test("a client's transaction that is open since before stops neither service", async () => {
  await sql.begin("isolation level repeatable read", async (tx) => {
    await tx`select count(*) from events`;
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => append(services[i % 2]?.url as string, `open-${i}`, { type: "A" })),
    );
    expect(answers.map((answer) => answer.status)).toEqual(Array<number>(40).fill(201));
    expect((await send(`${services[0].url}/api/streams/open-1`, { method: "DELETE" })).status).toBe(204);
  });
});

test("recorded times never run backwards along positions, also when a clock of the log stood ahead", async () => {
  await sql`update events set recorded_at = recorded_at + interval '1 hour' where position = (select max(position) from events)`;
  const [ahead] = await sql`select recorded_at from events order by position desc limit 1`;
  for (const service of services) await append(service.url, "clock", { type: "A" });
  const rows = await sql`select recorded_at from events order by position desc limit 2`;
  expect(rows.map((row) => row.recorded_at)).toEqual([ahead?.recorded_at, ahead?.recorded_at]);
});

test("appenders that meet on the same, on other and on new streams never wait in a circle nor collide", async () => {
  const databaseUrl = await createTestDatabase();
  const log = openSql(databaseUrl);
  await log`select log_partition_add(false, 100000)`;
  const errors: unknown[] = [];
  const appenders = Array.from({ length: 4 }, () => {
    const connections = openSql(databaseUrl, 2);
    const pool = createPool({ connect: () => connections, size: 2, timeLimitMs: 20_000 });
    const appender = createAppender({
      pool: {
        ...pool,
        // A deadlock or a collision is tried again or bisected: only here it shows.
        run: (task) =>
          pool.run(task).catch((error: unknown) => {
            errors.push(error);
            throw error;
          }),
      },
      log: createLog("silent", "test"),
      maxBatchEvents: 60,
      maxBatchBytes: 4_000_000,
      batchesInFlight: 2,
      maxWaitingBytes: 64_000_000,
      onAppended() {},
      onUnknown() {},
      onNoPartition: () => Promise.resolve(),
      validation: noValidation,
    });
    return { appender, stop: () => appender.stop().then(() => connections.end()) };
  });
  for (let round = 0; round < 8; round++) {
    const names = [
      ...Array.from({ length: 50 }, (_, i) => `fresh-${round}-${i}`),
      ...Array.from({ length: 8 }, (_, i) => `met-${i}`),
    ];
    await Promise.all(
      appenders.flatMap(({ appender }, a) =>
        [
          ...names.map((_, i) => names[(i * (a + 1) * 7) % names.length] as string),
          ...names.map((name) => `${name}-of-${a}`),
        ].map((stream) => appender.append({ stream, events: [newEvent()], expected: "any", idempotency: null })),
      ),
    );
  }
  expect(errors).toEqual([]);
  await Promise.all(appenders.map(({ stop }) => stop()));
  expect(await logDefects(log)).toEqual([]);
  await log.end();
});
