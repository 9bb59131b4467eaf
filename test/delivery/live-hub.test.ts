// The live connections of a process: what could not begin is tried again, without another change.
import { afterEach, expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { everyone } from "../../src/base/principal.ts";
import { createLiveHub, type LiveHub } from "../../src/delivery/live/hub.ts";
import type { LiveMembership, LiveNote } from "../../src/delivery/live/membership.ts";
import { asStored } from "../../src/stream/schema/target.ts";
import { noSchemas } from "../support/schemas.ts";
import { until } from "../support/until.ts";

let hub: LiveHub;
afterEach(() => hub.stop());

const stream = {
  types: null,
  key: null,
  where: null,
  target: asStored,
  startPosition: 150,
  catchUpPosition: 150,
  revision: 1,
};
const membership: LiveMembership = {
  epoch: 1,
  position: 100,
  streams: [{ stream: "a", ...stream }],
  subscriptions: [],
};
const away = () => Object.assign(new Error("away"), { code: "ECONNREFUSED" });

/** A hub whose database refuses so many locations, then so many notes. `connects`: what comes of them, one after the other. */
function startHub(
  failedLocations: number,
  failedNotes: number,
  connects: Promise<LiveMembership>[] = [],
  stays = membership,
) {
  const began: number[] = [];
  const stored: LiveNote[] = [];
  hub = createLiveHub({
    schemas: noSchemas,
    memberships: {
      connect: async () => connects.shift() ?? membership,
      read: async () => stays,
      async note(notes: readonly LiveNote[]) {
        if (failedNotes-- > 0) throw away();
        stored.push(...notes);
      },
      forget: async () => 0,
    } as never,
    async locate(_stream, position) {
      if (failedLocations-- > 0) throw away();
      return { cursor: { position, offset: 0 }, head: 200 };
    },
    followers: {
      follow({ start }) {
        began.push(start.position);
        return { cursor: () => start, state: () => "live", stop() {} };
      },
      heartbeat() {},
      counts: () => ({ live: 0, catchingUp: 0, groups: 0 }),
      stop() {},
    },
    feeds: {} as never,
    head: () => 200,
    bufferBytes: 1e6,
    heartbeatMs: 10,
    retryMs: 1,
    announce() {},
    forgottenMs: 1e9,
    log: createLog("silent", "test"),
  });
  const request = { id: "live", principal: everyone, position: 160, head: 200, logId: "log" };
  const open = (position: number) => hub.open({ ...request, position, signal: new AbortController().signal });
  return { began, stored, open };
}

test("a stream that could not be located begins later, at its own place", async () => {
  const { began, open } = startHub(1, 0);
  await open(160);
  await until("it has begun", () => began.length > 0);
  expect(began).toEqual([150]);
});

test("that a stream goes by the id is stored at once, or as soon as it can be", async () => {
  const { stored, open } = startHub(0, 1);
  await open(120);
  await until("it is stored", () => stored.some(({ catchUps }) => catchUps.some((it) => it.position === null)));
});

test("of two connects of one id the later one stays, also when its answer comes first", async () => {
  const late = Promise.withResolvers<LiveMembership>();
  const newer = { ...membership, epoch: 2 };
  const { open } = startHub(0, 0, [late.promise, Promise.resolve(newer)], newer);
  const first = open(120);
  const second = await open(120);
  late.resolve(membership);
  expect(await new Response(await first).text()).toContain('{"reason":"replaced"}');
  expect(hub.counts().connections).toBe(1);
  const read = new Response(second).text();
  await hub.stop();
  expect(await read).toContain('{"reason":"shutting-down"}');
});
