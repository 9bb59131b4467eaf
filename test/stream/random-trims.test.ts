// Random appends, trims, deletions, purges, checkpoints and dropped partitions, held against a model after every step.
import { expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { everyone } from "../../src/base/principal.ts";
import { createDatabase } from "../../src/storage/database.ts";
import { readNumbers } from "../../src/storage/lists.ts";
import { defaultNaming } from "../../src/stream/cross-service/names.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { readPage, readTail } from "../../src/stream/page.ts";
import {
  type Blockers,
  decideRemovals,
  type RemovalDependencies,
  removeDecided,
} from "../../src/stream/partition-removal.ts";
import { purgeRows } from "../../src/stream/purge.ts";
import { findDueStreams, trimStreams } from "../../src/stream/retention.ts";
import { parseConfiguration } from "../../src/stream/stream-configuration.ts";
import { configureStream, deleteStream, describeStream } from "../../src/stream/streams.ts";
import { createRandom } from "../crash/random.ts";
import { everything } from "../support/followers.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase, testSchema } from "../support/postgres.ts";
import { logDefects, openSql } from "../support/sql.ts";

const firstSeed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
const runs = Number(process.env.RUNS ?? 4);
const log = createLog("silent", "test");
const span = 40;

type StoredEvent = { position: number; offset: number; bytes: number; hour: number };
type Model = {
  name: string;
  ephemeral: boolean;
  exists: boolean;
  /** Every event that was ever stored. */
  events: StoredEvent[];
  first: number;
  maxEvents: number | null;
  maxBytes: number | null;
  maxAgeHours: number | null;
  floor: number | null;
};

async function run(seed: number): Promise<{ dropped: number; purged: number; trimmed: number }> {
  const random = createRandom(seed);
  const databaseUrl = await createTestDatabase();
  const sql = openSql(databaseUrl, 4);
  const database = createDatabase({
    connection: databaseUrl,
    schema: testSchema,
    poolSize: 3,
    commandTimeoutMs: 10_000,
    appendsInFlight: 1,
    claimsInFlight: 1,
    log,
  });
  const pool = database.reads;
  // The subscriptions of an ephemeral stream, as far as the trim knows them.
  await sql`create table test_floors (stream_id bigint primary key, floor bigint not null)`;
  await sql.unsafe(`create or replace function ephemeral_floor(p_stream_id bigint) returns bigint language sql stable as
    'select f.floor from test_floors f where f.stream_id = p_stream_id'`);
  const models: Model[] = Array.from({ length: 5 }, (_, n) => ({
    name: `s${n}`,
    ephemeral: false,
    exists: false,
    events: [],
    first: 0,
    maxEvents: null,
    maxBytes: null,
    maxAgeHours: null,
    floor: null,
  }));
  const blockers: Blockers = new Map();
  const signal = new AbortController().signal;
  let next = 0;
  let hour = 0;
  const done = { dropped: 0, purged: 0, trimmed: 0 };
  const removal: RemovalDependencies = {
    pool,
    connect: database.connect,
    recordsMs: 0,
    onTrimmed(position) {
      expect(position).toBe(next);
      next++;
    },
    onNoPartition: async () => {},
    log,
  };
  const kept = (model: Model) => model.events.slice(model.first);

  async function room(): Promise<void> {
    for (const ephemeral of [false, true]) {
      for (;;) {
        const [row] = await sql<{ upper: string }[]>`select log_partition_end(${ephemeral}) as upper`;
        if (Number(row?.upper) > next + 100) break;
        await sql`select log_partition_add(${ephemeral}, 50)`;
      }
    }
  }

  async function add(model: Model, count: number): Promise<void> {
    const events = Array.from({ length: count }, () => newEvent({ bytes: random.between(1, 200) }));
    const row = await callLogAppend(sql, [{ stream: model.name, events, expected: "any", idempotency: null }]);
    expect(Number(row.base)).toBe(next);
    const first = model.events.length;
    expect(readNumbers(row.offsets)).toEqual(events.map((_, i) => first + i));
    for (const [i, event] of events.entries())
      model.events.push({ position: next + i, offset: first + i, bytes: event.bytes, hour });
    next += count;
    model.exists = true;
  }

  async function configure(model: Model): Promise<void> {
    if (!model.exists) model.ephemeral = random.chance(0.6);
    model.maxEvents = random.chance(0.3) ? random.between(1, 30) : null;
    model.maxBytes = random.chance(0.3) ? random.between(50, 3_000) : null;
    model.maxAgeHours = random.chance(0.3) ? random.between(1, 4) : model.ephemeral ? 7 * 24 : null;
    const { maxEvents, maxBytes, maxAgeHours } = model;
    const body = {
      type: model.ephemeral ? "ephemeral" : "persistent",
      retention: { maxEvents, maxBytes, maxAge: maxAgeHours === null ? null : `${maxAgeHours}h` },
    };
    await configureStream(pool, model.name, parseConfiguration(body), defaultNaming("sluice"));
    model.exists = true;
  }

  async function settle(model: Model): Promise<void> {
    if (!model.ephemeral || !model.exists) return;
    const event = random.pick([...kept(model), null]);
    model.floor = event === null ? (random.chance(0.3) ? null : next) : event.position;
    await sql`delete from test_floors where stream_id = (select id from streams where name = ${model.name})`;
    if (model.floor === null) return;
    await sql`insert into test_floors select id, ${model.floor} from streams where name = ${model.name}`;
  }

  /** Where the stream has to begin. */
  function due(model: Model): number {
    const last = model.events.length - 1;
    let { first } = model;
    if (model.maxEvents !== null) first = Math.max(first, last + 1 - model.maxEvents);
    if (model.maxBytes !== null) {
      let bytes = 0;
      let fits = last + 1;
      while (fits > 0 && bytes + (model.events[fits - 1] as StoredEvent).bytes <= model.maxBytes) {
        fits--;
        bytes += (model.events[fits] as StoredEvent).bytes;
      }
      first = Math.max(first, fits);
    }
    const { maxAgeHours, floor } = model;
    while (first <= last && maxAgeHours !== null && hour - (model.events[first] as StoredEvent).hour >= maxAgeHours)
      first++;
    if (model.ephemeral && floor !== null)
      while (first <= last && (model.events[first] as StoredEvent).position < floor) first++;
    return first;
  }

  async function trim(): Promise<void> {
    const wanted = new Map(models.filter((model) => model.exists).map((model) => [model, due(model)]));
    for (let after = 0; ; ) {
      const found = await findDueStreams(pool, after, random.between(1, 3), random.between(1, 3));
      if (found.count > 0) {
        const { position, events } = await trimStreams(pool, found, 1_000, async () => {});
        done.trimmed += events;
        expect(position).toBe(next);
        const { events: records } = await readTail(pool, next - 1, next, 1);
        const { streams } = JSON.parse(records[0]?.data as string) as {
          streams: { stream: string; from: string; to: string }[];
        };
        expect(streams.reduce((sum, { from, to }) => sum + Number(to) - Number(from) + 1, 0)).toBe(events);
        for (const { stream, from, to } of streams) {
          const model = models.find(({ name }) => name === stream) as Model;
          expect([stream, Number(from), Number(to) + 1]).toEqual([stream, model.first, wanted.get(model) as number]);
          model.first = Number(to) + 1;
        }
        next++;
      }
      if (found.reached === null) break;
      after = found.reached;
    }
    for (const [model, first] of wanted) expect([model.name, model.first]).toEqual([model.name, first]);
  }

  async function remove(model: Model): Promise<void> {
    if (!model.exists) return;
    expect(await deleteStream(pool, model.name, async () => {})).toEqual({ position: next });
    next++;
    await sql`delete from test_floors where stream_id = (select id from streams where name = ${model.name})`;
    Object.assign(model, { first: model.events.length, exists: false, ephemeral: false, floor: null });
    Object.assign(model, { maxEvents: null, maxBytes: null, maxAgeHours: null });
  }

  async function drop(): Promise<void> {
    await decideRemovals(removal, blockers, signal);
    await removeDecided(removal, signal, () => done.dropped++);
  }

  async function check(): Promise<void> {
    expect(await logDefects(sql)).toEqual([]);
    for (const model of models.filter(({ exists }) => exists)) {
      const { description } = await describeStream(pool, model.name);
      const events = kept(model);
      expect(description).toMatchObject({
        name: model.name,
        type: model.ephemeral ? "ephemeral" : "persistent",
        length: String(events.length),
        firstOffset: events[0] === undefined ? null : String(events[0].offset),
        bytes: String(events.reduce((sum, event) => sum + event.bytes, 0)),
      });
    }
    const request = { principal: everyone, direction: "forward", cursor: -1, bound: next - 1, limit: 10_000 } as const;
    const rest = { historyEnd: -1, budgetMs: 10_000, selection: everything };
    const all = await readPage(pool, { ...request, ...rest, streamIds: null });
    const expected = models.filter((model) => !model.ephemeral).flatMap(kept);
    expect(all.events.map(({ position }) => position)).toEqual(expected.map((e) => e.position).sort((a, b) => a - b));
    const tail = await readTail(pool, -1, next - 1, 10_000);
    expect(tail.events.filter(({ ephemeral }) => ephemeral).map(({ position }) => position)).toEqual(
      models.flatMap((model) => (model.ephemeral ? kept(model).map((e) => e.position) : [])).sort((a, b) => a - b),
    );
  }

  for (let step = 0; step < 150; step++) {
    await room();
    const model = random.pick(models);
    const action = random.between(0, 19);
    if (action <= 6) await add(model, random.between(1, 25));
    else if (action <= 8) await configure(model);
    else if (action <= 10) await settle(model);
    else if (action <= 13) await trim();
    else if (action === 14) done.purged += (await purgeRows(pool, random.between(0, 4), random.between(1, 60))).gone;
    else if (action === 15) await remove(model);
    else if (action === 16) await sql`select log_checkpoint(${next - 1}, ${span})`;
    else if (action === 17) await drop();
    else {
      hour++;
      await sql`update events set recorded_at = recorded_at - interval '1 hour'`;
    }
    await check();
  }
  // At rest, with nothing left to keep, nothing but what cannot be dropped yet stays on the disk.
  for (const model of models) await remove(model);
  for (let gone = 1; gone > 0; ) ({ gone } = await purgeRows(pool, 0, 10_000));
  const [rows] = await sql`select count(*)::int as events, (select count(*)::int from stream_purges) as waiting
                           from events e join streams s on s.id = e.stream_id where not s.internal`;
  expect(rows).toEqual({ events: 0, waiting: 0 });
  await room();
  await add(models[0] as Model, 1);
  await check();
  await database.stop();
  await sql.end();
  return done;
}

const totals = { dropped: 0, purged: 0, trimmed: 0 };
for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
  test(`seed ${seed}: no offset or position is used twice, and exactly what was not removed is read`, async () => {
    const done = await run(seed);
    for (const key of ["dropped", "purged", "trimmed"] as const) totals[key] += done[key];
  }, 60_000);
}

test("all of it has happened", () => {
  for (const count of Object.values(totals)) expect(count).toBeGreaterThan(0);
});
