// The id of a live connection never passes a stream that has not come as far, whatever goes wrong when streams begin.
import { expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { everyone } from "../../src/base/principal.ts";
import { createLiveConnection } from "../../src/delivery/live/connection.ts";
import type { LiveStream } from "../../src/delivery/live/membership.ts";
import { asStored } from "../../src/stream/schema/target.ts";
import type { FollowRequest } from "../../src/subscription/following/follower.ts";
import { noSchemas } from "../support/schemas.ts";
import { until } from "../support/until.ts";

const bytes = new TextEncoder().encode("data: x\n\n");

/** A connection whose reader has everything up to 100, on a log whose head is 200, with followers that are moved by hand. */
function connect(position = 100, head = 200) {
  const requests = new Map<string, FollowRequest>();
  const positions = new Map<string, number>();
  /** What the location of a stream waits for or fails with. */
  const before = new Map<string, () => Promise<void>>();
  let openings = 0;
  let refusals = 0;
  const connection = createLiveConnection({
    id: "live",
    epoch: 1,
    principal: everyone,
    position,
    head: () => head,
    bufferBytes: 1e6,
    schemas: noSchemas,
    onClose() {},
    log: createLog("silent", "test"),
    feeds: {
      catalog: {
        async require() {
          openings++;
          if (refusals-- > 0) throw Object.assign(new Error("away"), { code: "ECONNREFUSED" });
          return new Promise(() => {});
        },
      },
    } as never,
    async locate(stream, at) {
      await before.get(stream)?.();
      return { cursor: { position: at, offset: 0 }, head };
    },
    followers: {
      follow(request) {
        const name = request.selection.streams?.[0] as string;
        requests.set(name, request);
        positions.set(name, request.start.position);
        return {
          cursor: () => ({ position: positions.get(name) as number, offset: 0 }),
          state: () => "live",
          stop() {},
        };
      },
      heartbeat() {},
      counts: () => ({ live: 0, catchingUp: 0, groups: 0 }),
      stop() {},
    },
  });
  const ids: number[] = [];
  void (async () => {
    for await (const chunk of connection.body)
      for (const [, id] of new TextDecoder().decode(chunk).matchAll(/^id: ?(\d+)$/gm)) ids.push(Number(id));
  })();
  return {
    connection,
    before,
    ids,
    from: (stream: string) => requests.get(stream)?.start.position,
    apply: (...streams: LiveStream[]) => connection.apply({ epoch: 1, position, streams, subscriptions: [] }),
    /** An event of a stream is written, which then stands at a position. */
    write(stream: string, at: number) {
      positions.set(stream, at);
      requests.get(stream)?.outlet.write(bytes);
    },
    catchUp(stream: string, at: number) {
      positions.set(stream, at);
      requests.get(stream)?.outlet.onCaughtUp({ position: at, offset: 0 });
    },
    /** The id with which the reader would come back. */
    async id() {
      const seen = ids.length;
      connection.heartbeat();
      await until("the heartbeat has come", () => ids.length > seen);
      return ids.at(-1);
    },
    openings: () => openings,
    refuse: (times: number) => {
      refusals = times;
    },
  };
}

const row = (stream: string, startPosition = 0, catchUpPosition: number | null = null): LiveStream => ({
  stream,
  types: null,
  key: null,
  target: asStored,
  where: null,
  startPosition,
  catchUpPosition,
  revision: 1,
});

test("a stream that could not be located holds the id until it has begun, at the same place", async () => {
  const live = connect();
  let failures = 1;
  live.before.set("b", async () => {
    if (failures-- > 0) throw new Error("the database is away");
  });
  await expect(live.apply(row("a"), row("b"))).rejects.toThrow("away");
  live.write("a", 200);
  expect(await live.id()).toBe(100);
  await live.apply(row("a"), row("b"));
  expect(live.from("b")).toBe(100);
  expect(await live.id()).toBe(100);
  live.write("b", 200);
  expect(await live.id()).toBe(200);
});

test("a stream that is being located holds the id", async () => {
  const live = connect();
  const located = Promise.withResolvers<void>();
  live.before.set("b", () => located.promise);
  const applied = live.apply(row("a"), row("b"));
  await until("a flows", () => live.from("a") !== undefined);
  live.write("a", 200);
  expect(await live.id()).toBe(100);
  located.resolve();
  await applied;
  live.write("b", 190);
  expect(await live.id()).toBe(190);
});

test("a stream whose location failed holds the id no longer once it has been removed", async () => {
  const live = connect();
  live.before.set("b", () => Promise.reject(new Error("the database is away")));
  await live.apply(row("a"), row("b")).catch(() => {});
  live.write("a", 200);
  await live.apply(row("a"));
  expect(await live.id()).toBe(200);
});

test("a heartbeat before the streams are known tells the reader nothing new", async () => {
  const live = connect();
  expect(await live.id()).toBe(100);
  await live.apply(row("a"));
  expect(live.from("a")).toBe(100);
});

test("a connection without streams goes with the head, once that is certain", async () => {
  const live = connect();
  await live.apply();
  expect(await live.id()).toBe(200);
});

test("a stream that is added behind the id begins at its own place, and a reconnect does too", async () => {
  const live = connect();
  await live.apply(row("a"));
  live.write("a", 180);
  expect(await live.id()).toBe(180);
  await live.apply(row("a"), row("b", 150, 150));
  expect(live.from("b")).toBe(150);
  expect(live.connection.note().catchUps).toEqual([]);
  // Once it has caught up it holds the id, even where it stands behind it for a moment.
  live.catchUp("b", 170);
  live.write("a", 200);
  expect(await live.id()).toBe(180);
  live.write("b", 195);
  expect(await live.id()).toBe(195);
  expect(live.connection.note().catchUps).toEqual([]);
});

test("a stream that is added before anything behind it was told goes by the id at once", async () => {
  const live = connect();
  await live.apply(row("a", 0), row("b", 150, 150));
  expect(live.from("b")).toBe(150);
  expect(live.connection.note().catchUps).toEqual([{ stream: "b", revision: 1, position: null }]);
  live.write("a", 200);
  expect(await live.id()).toBe(150);
});

test("what could not be noted is noted again", async () => {
  const live = connect();
  await live.apply(row("b", 150, 150));
  const note = live.connection.note();
  expect(live.connection.note().catchUps).toEqual(note.catchUps);
  live.connection.noted(note);
  expect(live.connection.note().catchUps).toEqual([]);
});

test("a subscription that cannot be opened while the database is away is opened later", async () => {
  const live = connect();
  live.refuse(2);
  const subscriptions = [{ subscription: "s", consumer: "c", autoAcknowledge: false }];
  await live.connection.apply({ epoch: 1, position: 0, streams: [], subscriptions });
  await until("it is opened", () => live.openings() === 3);
  live.connection.leave();
});
