// Followers of a stream that is deleted while they are on their way: each is told what it will not get, and shown none of it.
import { afterEach, beforeEach, expect, test } from "bun:test";
import type { StoredEvent } from "../../src/stream/event.ts";
import { readTail } from "../../src/stream/page.ts";
import { append } from "../support/client.ts";
import { everything, type Reader, type Rig, startRig } from "../support/followers.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

// Positions and offsets 0 to 5 are stream a; then it is deleted (6), and goes on (7). The tail has come to 3.
let service: Service;
let rig: Rig;
let before: StoredEvent[];
beforeEach(async () => {
  service = await startService();
  for (let n = 0; n < 6; n++) await append(service.url, "a", { type: "T", data: { n } });
  rig = await startRig(service.databaseUrl, -1);
  await rig.reveal(3);
  before = (await readTail(rig.database.reads, 3, 5, 10)).events;
});
afterEach(async () => {
  await rig.stop();
  await service.stop();
});

const at = (position: number, offset = position) => ({ position, offset });
const selection = { ...everything, streams: ["a"] };
const streamA = { selection, single: true };
const whereA = { ...streamA, selection: { ...selection, where: "$.n >= 0" } };

async function remove(): Promise<void> {
  await fetch(`${service.url}/api/streams/a`, { method: "DELETE" });
  await append(service.url, "a", { type: "T", data: { n: 6 } });
}

const live = (reader: Reader) => until("the follower is live", () => reader.follower.state() === "live");
const told = (reader: Reader) => reader.told.filter((entry) => "gap" in entry || "events" in entry);
const tells = (reader: Reader, ...expected: ({ gap: [number, number] } | { events: number[] })[]) =>
  until("the reader has the last event", () => reader.positions().includes(7)).then(() =>
    expect(told(reader)).toEqual(expected),
  );

test("a follower is told which events were removed before it could have them, wherever it stood", async () => {
  const stalled = rig.follow({ ...streamA, start: at(1) }, true);
  const current = rig.follow({ ...streamA, start: at(3) });
  const filtered = rig.follow({ ...whereA, start: at(3) });
  await live(current);
  await live(filtered);
  await remove();
  await rig.read(7);
  stalled.stall(false);
  const late = rig.follow({ ...streamA, start: at(1) });
  for (const reader of [current, filtered]) await tells(reader, { gap: [4, 5] }, { events: [7] });
  for (const reader of [late, stalled]) await tells(reader, { gap: [2, 5] }, { events: [7] });
});

test("what was deleted before a follower came is not shown to it, though the tail is behind", async () => {
  await remove();
  const everywhere = rig.follow({ start: at(-1), logHead: 7 });
  const single = rig.follow({ ...streamA, start: at(5), logHead: 7 });
  await tells(everywhere, { events: [7] });
  await tells(single, { events: [7] });
  await rig.read(7);
  await append(service.url, "a", { type: "T", data: { n: 7 } });
  await rig.read(8);
  for (const reader of [everywhere, single])
    await until("it goes on", () => Bun.deepEquals(reader.positions(), [7, 8]));
});

test("what the database said to be removed is not shown when a tail that is behind comes to it", async () => {
  await remove();
  // Its start lies before the ring, so the database is asked; that knows of the deletion, the tail does not.
  const reader = rig.follow({ ...streamA, start: at(-2, -1) });
  const bounded = rig.follow({ ...streamA, start: at(-2, -1), upTo: { kind: "offset", value: 6 } });
  await live(reader);
  await live(bounded);
  rig.tail.offer(before);
  await rig.read(7);
  await tells(reader, { gap: [0, 5] }, { events: [7] });
  await tells(bounded, { gap: [0, 5] }, { events: [7] });
});

test("a deletion between two questions to the database hides no gap of an earlier one", async () => {
  await remove();
  await rig.read(7);
  let asked = 0;
  rig.before.ask = async () => {
    // The page has been read; where the stream begins is asked next.
    if (++asked === 2) await remove();
  };
  const reader = rig.follow({ ...streamA, start: at(-2, -1) });
  await live(reader);
  await rig.read(9);
  await until("the reader has the last event", () => reader.positions().includes(9));
  expect(told(reader)).toEqual([{ gap: [0, 6] }, { events: [9] }]);
});

test("what is removed while a follower's last events wait for its reader is told between them and the later ones", async () => {
  const reader = rig.follow({ ...whereA, start: at(1) });
  reader.onWrite = () => reader.stall(true);
  const witness = rig.follow({ ...whereA, start: at(3) });
  await live(witness);
  await until("the last page is written", () => reader.positions().length > 0);
  await remove();
  // The deletion comes by itself, without an event.
  await rig.read(6);
  await rig.read(7);
  await tells(witness, { gap: [4, 5] }, { events: [7] });
  reader.onWrite = null;
  reader.stall(false);
  await tells(reader, { events: [2, 3] }, { gap: [4, 5] }, { events: [7] });
});

test("events that are gone when a predicate is evaluated over them are told as a gap", async () => {
  const reader = rig.follow({ ...whereA, start: at(3) });
  await live(reader);
  await remove();
  await rig.database.appends.run((sql) => sql`select stream_purge(0, 100)`);
  rig.tail.offer(before);
  await rig.read(7);
  await tells(reader, { gap: [4, 5] }, { events: [7] });
});
