// Rows of the outbox in a batch of appends: they go with the requests that are stored, and a request without its rows is none.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../../src/base/log.ts";
import { classify } from "../../../src/storage/pg-errors.ts";
import { createAppender } from "../../../src/stream/append.ts";
import type { AppendRequest } from "../../../src/stream/append-request.ts";
import { newEvent } from "../../support/new-event.ts";
import { insertRow } from "../../support/outbox.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { noValidation } from "../../support/schemas.ts";
import { openSql } from "../../support/sql.ts";

let sql: postgres.Sql;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 4);
  await sql`select log_partition_add(false, 1000)`;
});
afterAll(() => sql.end());

const rows = (count: number) =>
  sql.begin(async (tx) => {
    const ids: number[] = [];
    for (let n = 0; n < count; n++) ids.push(await insertRow(tx, { stream: "a" }));
    return ids;
  });
const left = async (ids: readonly number[]) =>
  (await sql`select id::int from outbox where id = any(${`{${ids}}`}::bigint[]) order by id`).map((row) => row.id);
const lengthOf = async (stream: string) =>
  (await sql`select 1 from events e join streams s on s.id = e.stream_id where s.name = ${stream}`).length;

/** Appends requests that travel in one batch; each comes to `stored`, or the code that it was refused with. */
async function appendTogether(...requests: (Partial<AppendRequest> & { stream: string })[]): Promise<string[]> {
  const appender = createAppender({
    pool: { run: (task) => task(sql), stop: async () => {} },
    log: createLog("silent", "test"),
    maxBatchEvents: 1_000,
    maxBatchBytes: 1_000_000,
    batchesInFlight: 1,
    maxWaitingBytes: 1_000_000,
    onAppended: () => {},
    onUnknown: () => {},
    onNoPartition: async () => {},
    validation: noValidation,
  });
  const appended = requests.map((request) =>
    appender.append({ events: [newEvent()], expected: "any", idempotency: null, ...request }).then(
      () => "stored",
      (error: { code: string; cause?: unknown }) =>
        error.cause === undefined ? error.code : classify(error.cause).code,
    ),
  );
  const outcomes = await Promise.all(appended);
  await appender.stop();
  return outcomes;
}

test("the rows of what is stored go, also of duplicates, and those of what is refused stay", async () => {
  const [one, two, three, four] = (await rows(4)) as [number, number, number, number];
  const known = newEvent({ id: "known" });
  const outcomes = await appendTogether(
    { stream: "mixed", outbox: [one, two], events: [newEvent(), known] },
    { stream: "mixed" },
    { stream: "mixed", outbox: [three], expected: "nothing" },
    { stream: "mixed", outbox: [four], events: [known] },
  );
  expect(outcomes).toEqual(["stored", "stored", "wrong-expected-version", "stored"]);
  expect(await left([one, two, three, four])).toEqual([three]);
  expect(await lengthOf("mixed")).toBe(3);
});

test("a request whose rows are gone, held or set aside is not stored, and takes nobody with it", async () => {
  const [free, gone, held, aside] = (await rows(4)) as [number, number, number, number];
  await sql`delete from outbox where id = ${gone}`;
  await sql`update outbox set failure = 'no' where id = ${aside}`;
  await sql.begin(async (tx) => {
    await tx`select 1 from outbox where id = ${held} for update`;
    const outcomes = await appendTogether(
      { stream: "s-1", outbox: [free, gone] },
      { stream: "s-2" },
      { stream: "s-3", outbox: [held] },
      { stream: "s-4", outbox: [free] },
      { stream: "s-5", outbox: [aside] },
    );
    expect(outcomes).toEqual(["SL011", "stored", "SL011", "stored", "SL011"]);
  });
  const lengths = [];
  for (let n = 1; n <= 5; n++) lengths.push(await lengthOf(`s-${n}`));
  expect(lengths).toEqual([0, 1, 0, 1, 0]);
  expect(await left([free, gone, held, aside])).toEqual([held, aside]);
});
