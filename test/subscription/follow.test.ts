// The state machine of followers, step by step: the test moves the tail and the readers, pages come from a real database.
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { readTail } from "../../src/stream/page.ts";
import { append } from "../support/client.ts";
import { everything, heartbeat, type Reader, type Rig, startRig } from "../support/followers.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

// Positions 0 to 9 are a0 b1 a2 b3 …: even ones are of stream a, odd ones of stream b; `n` is the position.
let service: Service;
// Thirty events of 100 kB each.
let big: Service;
let rig: Rig;
beforeAll(async () => {
  [service, big] = await Promise.all([startService(), startService()]);
  const filler = "x".repeat(100_000);
  for (let n = 0; n < 30; n++) await append(big.url, "big", { type: "T", data: { n, filler } });
  for (let n = 0; n < 20; n++) await append(service.url, n % 2 === 0 ? "a" : "b", { type: "T", data: { n } });
});
afterEach(() => rig.stop());
afterAll(() => Promise.all([service.stop(), big.stop()]));

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const at = (position: number, offset = position) => ({ position, offset });
const whereAll = { ...everything, where: "$.n >= 0" };
const streamA = { selection: { ...everything, streams: ["a"] }, single: true };

const live = (reader: Reader) => until("the follower is live", () => reader.follower.state() === "live");
const sees = (reader: Reader, positions: number[]) =>
  until(`the reader has seen ${positions}`, () => reader.positions().length >= positions.length).then(() =>
    expect(reader.positions()).toEqual(positions),
  );
/** Lets everything that is ready to run do so, the database included. */
async function settled(r: Rig): Promise<void> {
  for (let same = 0, last = -1; same < 5; ) {
    await r.database.reads.run((sql) => sql`select 1`);
    same = r.asked() === last ? same + 1 : 0;
    last = r.asked();
  }
}

test("a follower reads history from the database, then the ring, then lives", async () => {
  rig = await startRig(service.databaseUrl, 4);
  await rig.reveal(7);
  const reader = rig.follow();
  await live(reader);
  await rig.reveal(9);
  expect(reader.positions()).toEqual(range(0, 9));
  expect(reader.told.filter((told) => "caughtUp" in told)).toEqual([{ caughtUp: 7 }]);
});

test("who comes while the tail is about to pass something on gets it once", async () => {
  rig = await startRig(service.databaseUrl, 5);
  const first = rig.follow({ start: at(5) });
  await live(first);
  const { events } = await readTail(rig.database.reads, 5, 7, 10);
  rig.tail.offer(events);
  const second = rig.follow({ start: at(5) });
  const third = rig.follow({ start: at(7) });
  await Promise.all([live(second), live(third)]);
  await rig.reveal(9);
  expect([first, second, third].map((reader) => reader.positions())).toEqual([range(6, 9), range(6, 9), [8, 9]]);
});

test("a follower that resumes behind one that came with a newer head misses nothing", async () => {
  rig = await startRig(service.databaseUrl, 5);
  const ahead = rig.follow({ start: at(8) });
  await live(ahead);
  const behind = rig.follow({ start: at(5) });
  await live(behind);
  await rig.reveal(7);
  expect(behind.positions()).toEqual([6, 7]);
  expect(ahead.positions()).toEqual([]);
  await rig.reveal(10);
  expect(behind.positions()).toEqual(range(6, 10));
  expect(ahead.positions()).toEqual([9, 10]);
});

test("the same with a payload predicate", async () => {
  rig = await startRig(service.databaseUrl, 5);
  const ahead = rig.follow({ start: at(8), selection: whereAll });
  await live(ahead);
  const behind = rig.follow({ start: at(5), selection: whereAll });
  await live(behind);
  await rig.reveal(7);
  await rig.reveal(10);
  await sees(behind, range(6, 10));
  await sees(ahead, [9, 10]);
});

test("a heartbeat to a follower ahead of the tail never takes its cursor back", async () => {
  rig = await startRig(service.databaseUrl, 5);
  const ahead = rig.follow({ ...streamA, start: at(10, 5) });
  await live(ahead);
  heartbeat(rig);
  await rig.reveal(9);
  heartbeat(rig);
  await rig.reveal(11);
  heartbeat(rig);
  await rig.reveal(12);
  heartbeat(rig);
  expect(ahead.told.filter((told) => !("caughtUp" in told))).toEqual([
    { heartbeat: 5 },
    { heartbeat: 5 },
    { heartbeat: 5 },
    { events: [12] },
    { heartbeat: 6 },
  ]);
});

/** A follower with a predicate that has entered its group and waits for its last page; one that is live already. */
async function holding(): Promise<{ early: Reader; late: Reader; letGo: () => void }> {
  rig = await startRig(service.databaseUrl, -1);
  await rig.reveal(5);
  const early = rig.follow({ start: at(5), selection: whereAll });
  await live(early);
  let letGo = () => {};
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const before = rig.asked();
  rig.before.ask = () => gate;
  const late = rig.follow({ start: at(2), selection: whereAll });
  await until("the last page is asked for", () => rig.asked() > before);
  rig.before.ask = null;
  return { early, late, letGo };
}

test("what comes while the last page is being read is written behind it, once", async () => {
  const { early, late, letGo } = await holding();
  await rig.reveal(8);
  await sees(early, [6, 7, 8]);
  expect(late.positions()).toEqual([]);
  letGo();
  await live(late);
  await rig.reveal(10);
  await sees(early, range(6, 10));
  await sees(late, range(3, 10));
});

test("a heartbeat while the last page is being read carries what was written, not what is held back", async () => {
  const { early, late, letGo } = await holding();
  await rig.reveal(8);
  await sees(early, [6, 7, 8]);
  heartbeat(rig);
  expect(late.told).toEqual([{ heartbeat: 2 }]);
  expect(early.told.at(-1)).toEqual({ heartbeat: 8 });
  letGo();
  await sees(late, range(3, 8));
});

test("a predicate that cannot be evaluated for a while costs nobody an event", async () => {
  const { early, late, letGo } = await holding();
  let failures = 1;
  rig.before.ask = async () => {
    if (failures-- > 0) throw Object.assign(new Error("gone"), { code: "CONNECTION_CLOSED" });
  };
  await rig.reveal(8);
  await until("the evaluation has failed", () => failures <= 0);
  letGo();
  await sees(early, [6, 7, 8]);
  await sees(late, range(3, 8));
  await live(early);
  await live(late);
  await rig.reveal(11);
  await sees(early, range(6, 11));
  await sees(late, range(3, 11));
});

test("a reader that stalls while events are held back for it does not fill the memory, and gets them later", async () => {
  rig = await startRig(big.databaseUrl, -1, 100_000_000);
  await rig.reveal(5);
  const early = rig.follow({ start: at(5), selection: whereAll });
  await live(early);
  const late = rig.follow({ start: at(2), selection: whereAll });
  late.onWrite = () => late.stall(true);
  await until("the reader was given something", () => late.positions().length > 0);
  late.onWrite = null;
  await rig.reveal(29);
  await sees(early, range(6, 29));
  const asked = rig.asked();
  late.stall(false);
  await sees(late, range(3, 29));
  // What was not held back has been read again.
  expect(rig.asked()).toBeGreaterThan(asked);
});

test("a reader that takes nothing is read nothing for", async () => {
  rig = await startRig(service.databaseUrl, -1);
  await rig.reveal(9);
  const reader = rig.follow({}, true);
  await settled(rig);
  expect(reader.told).toEqual([]);
  reader.stall(false);
  await live(reader);
  reader.stall(true);
  await rig.reveal(11);
  expect(reader.follower.state()).toBe("behind");
  await rig.reveal(15);
  await settled(rig);
  expect(reader.positions()).toEqual(range(0, 11));
  expect(rig.asked()).toBe(0);
  reader.stall(false);
  await live(reader);
  expect(reader.positions()).toEqual(range(0, 15));
});

test("a full buffer sends a follower to its reader, not to the database", async () => {
  rig = await startRig(big.databaseUrl, -1, 100_000_000);
  await rig.reveal(29);
  const reader = rig.follow();
  // The first look at the reader finds room, the first write fills it.
  reader.onWrite = () => reader.stall(true);
  await until("a piece of the ring was passed on", () => reader.positions().length > 0);
  await settled(rig);
  expect(rig.asked()).toBe(0);
  expect(reader.positions().length).toBeLessThan(10);
  reader.onWrite = null;
  reader.stall(false);
  await live(reader);
  expect(reader.positions()).toEqual(range(0, 29));
});

test("a follower whose end lies at or before its start ends at once", async () => {
  rig = await startRig(service.databaseUrl, 9);
  const atHead = rig.follow({ start: at(9), upTo: { kind: "position", value: 9 } });
  const before = rig.follow({ start: at(9), upTo: { kind: "position", value: 4 } });
  await until("both have ended", () => atHead.told.length > 0 && before.told.length > 0);
  expect(atHead.told).toEqual([{ end: "to", at: 9 }]);
  expect(before.told).toEqual([{ end: "to", at: 4 }]);
  expect(rig.followers.counts()).toEqual({ live: 0, catchingUp: 0, groups: 0 });
});

test("the end of a bounded follower is no further than what it asked for", async () => {
  rig = await startRig(service.databaseUrl, -1);
  await rig.reveal(9);
  const byPosition = rig.follow({ upTo: { kind: "position", value: 4 } });
  const byOffset = rig.follow({ ...streamA, upTo: { kind: "offset", value: 2 } });
  const ofStream = rig.follow({ ...streamA, upTo: { kind: "position", value: 5 } });
  const limited = rig.follow({ limit: 3 });
  await until("all have ended", () => rig.followers.counts().groups === 0);
  expect(byPosition.told).toEqual([{ events: range(0, 4) }, { end: "to", at: 4 }]);
  expect(byOffset.told).toEqual([{ events: [0, 2, 4] }, { end: "to", at: 2 }]);
  expect(ofStream.told).toEqual([{ events: [0, 2, 4] }, { end: "to", at: 2 }]);
  expect(limited.told).toEqual([{ events: [0, 1, 2] }, { end: "limit", at: 2 }]);
});

test("bounded followers end at the live end as well", async () => {
  rig = await startRig(service.databaseUrl, 5);
  const to = rig.follow({ start: at(5), upTo: { kind: "position", value: 7 } });
  const limited = rig.follow({ start: at(5), limit: 2, selection: { ...everything, streams: ["a"] } });
  const filtered = rig.follow({ start: at(5), upTo: { kind: "position", value: 7 }, selection: whereAll });
  for (const reader of [to, limited, filtered]) await live(reader);
  await rig.reveal(10);
  await until("all have ended", () => rig.followers.counts().groups === 0);
  expect(to.told).toEqual([{ caughtUp: 5 }, { events: [6, 7] }, { end: "to", at: 7 }]);
  expect(limited.told).toEqual([{ caughtUp: 5 }, { events: [6, 8] }, { end: "limit", at: 8 }]);
  expect(filtered.told).toEqual([{ caughtUp: 5 }, { events: [6, 7] }, { end: "to", at: 7 }]);
});

test("an end that nothing matches is reached all the same", async () => {
  rig = await startRig(service.databaseUrl, 5);
  const reader = rig.follow({
    start: at(5),
    upTo: { kind: "position", value: 7 },
    selection: { ...everything, types: ["Never"] },
  });
  await live(reader);
  await rig.reveal(8);
  expect(reader.told).toEqual([{ caughtUp: 5 }, { end: "to", at: 7 }]);
});

test("equal followers share one encoding, and none is encoded for nobody", async () => {
  rig = await startRig(service.databaseUrl, 5);
  const readers = Array.from({ length: 50 }, () => rig.follow({ start: at(5) }));
  const filtered = rig.follow({ start: at(5), selection: { ...everything, streams: ["a"] } });
  const none = rig.follow({ start: at(5), selection: { ...everything, types: ["Never"] } });
  for (const reader of [...readers, filtered, none]) await live(reader);
  await rig.reveal(8);
  expect(rig.encoded.sort()).toEqual(["6,7,8", "6,8"]);
  for (const reader of readers) expect(reader.positions()).toEqual([6, 7, 8]);
  expect(rig.asked()).toBe(0);
});

test("a follower that another's write stops is written nothing more", async () => {
  rig = await startRig(service.databaseUrl, 5);
  const first = rig.follow({ start: at(5) });
  const second = rig.follow({ start: at(5) });
  const third = rig.follow({ start: at(5) });
  for (const reader of [first, second, third]) await live(reader);
  first.onWrite = () => {
    first.follower.stop();
    second.follower.stop();
  };
  await rig.reveal(7);
  expect(second.positions()).toEqual([]);
  expect(third.positions()).toEqual([6, 7]);
  expect(rig.followers.counts()).toEqual({ live: 1, catchingUp: 0, groups: 1 });
  await rig.reveal(8);
  expect(first.positions()).toEqual([6, 7]);
});

test("a follower that is stopped in any state leaves nothing behind", async () => {
  const { early, late, letGo } = await holding();
  late.follower.stop();
  early.follower.stop();
  const waiting = rig.follow({}, true);
  waiting.follower.stop();
  letGo();
  await settled(rig);
  await rig.reveal(8);
  expect(rig.followers.counts()).toEqual({ live: 0, catchingUp: 0, groups: 0 });
  expect([early, late, waiting].flatMap((reader) => reader.positions())).toEqual([]);
});

test("a database that is away is waited for, without a gap and without a repetition", async () => {
  rig = await startRig(service.databaseUrl, 9);
  let failures = 2;
  rig.before.ask = async () => {
    if (failures-- > 0) throw Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
  };
  const reader = rig.follow();
  await sees(reader, range(0, 9));
  expect(reader.told.filter((told) => "end" in told)).toEqual([]);
});

test("a path that fails on the data ends its follower with the reason, and no other", async () => {
  rig = await startRig(service.databaseUrl, 5);
  const broken = rig.follow({
    start: at(5),
    selection: { ...everything, where: '"2026-01-01".datetime() < "2026-01-01T00:00:00+00:00".datetime()' },
  });
  const sound = rig.follow({ start: at(5), selection: whereAll });
  await live(broken);
  await live(sound);
  await rig.reveal(7);
  await until("the broken one has ended", () => broken.told.some((told) => "end" in told));
  expect(broken.told.at(-1)).toMatchObject({ end: "failed", at: 5, error: { code: "0A000" } });
  await sees(sound, [6, 7]);
});

test("streams that forbid replay are passed over in the ring too, up to where the follower came", async () => {
  const silent = await startService();
  try {
    for (let n = 0; n < 6; n++) await append(silent.url, n % 2 === 0 ? "a" : "b", { type: "T", data: { n } });
    await fetch(`${silent.url}/api/streams/b`, { method: "PUT", body: '{"replay":false}' });
    rig = await startRig(silent.databaseUrl, -1);
    await rig.reveal(3);
    // The database was ahead of the tail when the follower came.
    const reader = rig.follow({ historyEnd: 4 });
    await live(reader);
    expect(rig.asked()).toBeLessThan(5);
    await rig.reveal(5);
    await sees(reader, [0, 2, 4, 5]);
  } finally {
    await silent.stop();
  }
});
