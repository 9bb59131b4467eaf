// Followers under random appends, deletions, trims, purges, holes, resumes and stalls: each offset is shown or told as gone, in order.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { everyone } from "../../src/base/principal.ts";
import { removalsOf, type StoredEvent } from "../../src/stream/event.ts";
import { resolveFollow } from "../../src/stream/follow-start.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { readTail } from "../../src/stream/page.ts";
import { findDueStreams, trimStreams } from "../../src/stream/retention.ts";
import { deleteStream } from "../../src/stream/streams.ts";
import { createRandom } from "../crash/random.ts";
import { everything, type Reader, startRig, type Told } from "../support/followers.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { configure, openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

const firstSeed = Number(process.env.SEED ?? 1);
const runs = Number(process.env.RUNS ?? 12);

let sql: ReturnType<typeof openSql>;
let databaseUrl: string;
beforeAll(async () => {
  databaseUrl = await createTestDatabase();
  sql = openSql(databaseUrl, 4);
  await sql`select log_partition_add(false, 1000000)`;
});
afterAll(() => sql.end());

type Watched = { name: string; reader: Reader; matches: (n: number) => boolean; next: number };

/** What is wrong with what a reader of one stream was told, from the offset `next` on. */
function defects(
  told: readonly Told[],
  offsetOf: Map<number, { offset: number; n: number }>,
  watched: Watched,
  nOf: number[],
): string[] {
  const found: string[] = [];
  let { next } = watched;
  for (const entry of told) {
    if ("gap" in entry) {
      const [from, to] = entry.gap;
      for (let offset = next; offset < from; offset++)
        if (watched.matches(nOf[offset] as number))
          found.push(`${offset} was neither shown nor told before the gap ${from}-${to}`);
      if (to < next) found.push(`the gap ${from}-${to} was told at ${next}`);
      next = Math.max(next, to + 1);
    } else if ("events" in entry) {
      for (const position of entry.events) {
        const { offset } = offsetOf.get(position) as { offset: number };
        if (offset < next) found.push(`${offset} was shown at ${next}`);
        for (let missing = next; missing < offset; missing++)
          if (watched.matches(nOf[missing] as number))
            found.push(`${missing} was neither shown nor told before ${offset}`);
        next = Math.max(next, offset + 1);
      }
    }
  }
  return found;
}

async function run(seed: number): Promise<void> {
  const random = createRandom(seed);
  const stream = `s${seed}`;
  const offsetOf = new Map<number, { offset: number; n: number }>();
  const nOf: number[] = [];
  const happened: string[] = [];
  // What this process appended itself, as its tail is offered it: also what has been deleted since.
  const own: StoredEvent[][] = [];
  const [{ head = 0 } = {}] = await sql<
    { head: number }[]
  >`select coalesce(max(position), -1)::int as head from events`;
  let logHead = head;
  const rig = await startRig(databaseUrl, head, random.pick([5_000, 40_000, 16_000_000]));
  const pool = rig.database.reads;

  async function add(name: string, count: number): Promise<void> {
    const events = Array.from({ length: count }, () => newEvent({ data: `{"n":${random.between(0, 9)}}` }));
    await callLogAppend(sql, [{ stream: name, events, expected: "any", idempotency: null }]);
    const read = await readTail(pool, logHead, logHead + count, count);
    for (const event of read.events) {
      if (name !== stream) continue;
      const { n } = JSON.parse(event.data as string) as { n: number };
      offsetOf.set(event.position, { offset: event.offset, n });
      nOf[event.offset] = n;
    }
    logHead += count;
    // Some are another process's: the tail has to read them.
    if (random.chance(0.6)) own.push(read.events);
  }

  async function remove(): Promise<void> {
    const deleted = await deleteStream(rig.database.appends, stream, async () => {}).catch(() => null);
    if (deleted === null) return;
    logHead = deleted.position;
    removed = nOf.length - 1;
    happened.push(`deleted up to ${nOf.length - 1} at ${logHead}, tail ${rig.tail.head()}`);
    if (random.chance(0.3)) own.push((await readTail(pool, logHead - 1, logHead, 1)).events);
  }

  // Up to where anything was removed: no more than that may be told as gone.
  let removed = -1;
  async function trim(): Promise<void> {
    await configure(sql, stream, { retention: { maxEvents: random.between(1, 40) } });
    for (let after: number | null = 0; after !== null; ) {
      const due = await findDueStreams(pool, after, 100, 100);
      after = due.reached;
      if (due.count === 0) continue;
      const { position } = await trimStreams(pool, due, 1_000, async () => {});
      logHead = position as number;
      const [record] = (await readTail(pool, logHead - 1, logHead, 1)).events as [StoredEvent];
      removed = Math.max(removed, removalsOf(record).get(stream) ?? -1);
      happened.push(`trimmed up to ${removed} at ${logHead}, tail ${rig.tail.head()}`);
      if (random.chance(0.3)) own.push([record]);
    }
    await configure(sql, stream);
  }

  const watched: Watched[] = [];
  async function join(from: "latest" | "beginning" | number): Promise<void> {
    const where = random.chance(0.6) ? "$.n >= 5" : null;
    const selection = { ...everything, streams: [stream], where };
    const after = typeof from === "number" ? from : null;
    const place = typeof from === "number" ? null : ({ kind: from } as const);
    const start = await resolveFollow(
      { pool, knownHead: rig.tail.head },
      { selection, single: true, from: place, after, to: null, principal: everyone },
    );
    const { gap } = start;
    happened.push(
      `${watched.length} joins from ${from}: ${JSON.stringify({ where, ...start })}, tail ${rig.tail.head()}`,
    );
    const reader = rig.follow({ selection, single: true, ...start }, random.chance(0.3));
    const next = gap === null ? start.start.offset + 1 : gap.to + 1;
    const matches = where === null ? () => true : (n: number) => n >= 5;
    watched.push({ name: `${from} ${where ?? "all"}`, reader, matches, next });
    if (random.chance(0.3)) reader.onWrite = () => reader.stall(true);
  }

  await add(stream, random.between(1, 30));
  for (let step = 0; step < 60; step++) {
    const action = random.between(0, 13);
    if (action <= 2) await add(stream, random.between(1, 40));
    else if (action === 3) await add("elsewhere", random.between(1, 5));
    else if (action === 4) await remove();
    else if (action === 5) await sql`select stream_purge(0, ${random.between(1, 50)})`;
    else if (action === 6) await join(random.pick(["latest", "beginning"] as const));
    else if (action === 7) await join(random.between(0, nOf.length - 1));
    else if (action === 8)
      rig.tail.wake(
        random.between(rig.tail.head() + 1, Math.max(logHead, rig.tail.head() + 1)) <= logHead
          ? random.between(rig.tail.head() + 1, logHead)
          : logHead,
      );
    else if (action <= 10) for (const events of own.splice(0, random.between(1, 3))) rig.tail.offer(events);
    else if (action <= 12) await trim();
    else
      for (const { reader } of watched) {
        reader.onWrite = null;
        reader.stall(random.chance(0.3));
      }
    // What the followers have begun gets on, more or less.
    for (let n = random.between(0, 3); n > 0; n--) await sql`select 1`;
  }
  for (const events of own.splice(0)) rig.tail.offer(events);
  await add(stream, 1);
  const lastN = nOf.at(-1) as number;
  await rig.read(logHead);
  for (const { reader } of watched) {
    reader.onWrite = null;
    reader.stall(false);
  }
  const last = nOf.length - 1;
  for (const { reader, name } of watched)
    await until(
      `${name} of seed ${seed} has arrived`,
      () =>
        reader.follower.state() === "live" &&
        reader.follower.cursor().offset >= last &&
        (lastN < 0 || reader.follower.cursor().position >= logHead),
    );
  for (const one of watched) {
    const found = defects(one.reader.told, offsetOf, one, nOf);
    for (const entry of one.reader.told)
      if ("gap" in entry && entry.gap[1] > removed) found.push(`${entry.gap} is told, and ${removed} was removed last`);
    if (found.length > 0)
      throw new Error(
        `seed ${seed}, ${watched.indexOf(one)} from ${one.next}, ${one.name}:\n${found.slice(0, 5).join("\n")}\n${happened.join("\n")}\n${JSON.stringify(one.reader.told).slice(0, 1500)}`,
      );
  }
  await rig.stop();
}

for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
  test(`seed ${seed}: each offset is shown or told as gone, in order`, () => run(seed), 60_000);
}

test("what the checks find", () => {
  const offsets = new Map([0, 1, 2, 3].map((position) => [position, { offset: position, n: 9 }]));
  const one = (matches: (n: number) => boolean): Watched => ({
    name: "",
    reader: null as unknown as Reader,
    matches,
    next: 0,
  });
  const all = one(() => true);
  const n = [9, 9, 9, 9];
  expect(defects([{ events: [0, 1] }, { gap: [2, 2] }, { events: [3] }], offsets, all, n)).toEqual([]);
  expect(defects([{ events: [0, 3] }], offsets, all, n)).toHaveLength(2);
  expect(defects([{ events: [0] }, { gap: [2, 2] }], offsets, all, n)).toHaveLength(1);
  expect(defects([{ gap: [0, 2] }, { events: [1] }], offsets, all, n)).toHaveLength(1);
  expect(
    defects(
      [{ events: [0, 3] }],
      offsets,
      one((value) => value < 5),
      n,
    ),
  ).toEqual([]);
});
