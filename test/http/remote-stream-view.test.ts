// How a remote stream is shown by the process that has it in hand, and by another one.
import { expect, test } from "bun:test";
import { createRemoteStreamView } from "../../src/http/remote-stream-view.ts";
import type { MirrorStanding, RemoteStanding } from "../../src/stream/remote/remote-streams.ts";

const standing: MirrorStanding = {
  state: "mirroring",
  pending: 2,
  behindSinceMs: 1_000,
  received: 3,
  redelivered: 0,
  lastError: null,
  lastErrorAt: null,
};
const told: RemoteStanding = {
  id: 7,
  name: "users",
  source: { service: "svca", stream: "users" },
  maxDeliveries: 5,
  backoffInitialMs: 1_000,
  backoffFactor: 2,
  backoffMaxMs: 60_000,
  createdAt: "2026-01-01T00:00:00.000Z",
  revision: 1,
  former: null,
  cursor: { jetstream: "svca_users", created: "2026-01-01T00:00:00Z", sequence: 3, storedMs: 1_000 },
  isInHand: true,
  standing,
  retrying: 0,
  deadLetters: 0,
};

test("who has it in hand says how it stands now, and others what was told last", () => {
  const now: MirrorStanding = { ...standing, pending: 0, behindSinceMs: null };
  const settings = { service: "svcb", natsState: () => "connected" as const };
  const own = createRemoteStreamView({ ...settings, standingOf: (id) => (id === 7 ? now : null) });
  expect(own(told)).toMatchObject({ pending: "0", lagSeconds: 0 });
  const others = createRemoteStreamView({ ...settings, standingOf: () => null });
  expect(others(told)).toMatchObject({ pending: "2" });
  expect(others(told).lagSeconds).toBeGreaterThan(0);
  // Messages wait, and none has come: it is not known since when.
  expect(others({ ...told, standing: { ...standing, behindSinceMs: null } }).lagSeconds).toBeNull();
});
