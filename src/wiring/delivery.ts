// Wires what tells clients of events: followers of the log, event streams, streams of subscriptions, live connections.
import { createSemaphore } from "../base/semaphore.ts";
import { createLiveHub, type LiveHub } from "../delivery/live/hub.ts";
import { createLiveMemberships, type LiveMemberships } from "../delivery/live/membership.ts";
import { createSseHub, type SseHub } from "../delivery/sse-hub.ts";
import { createSubscriptionStreams, type SubscriptionStreams } from "../delivery/subscription-stream.ts";
import { locateStream } from "../stream/follow-start.ts";
import { readStreamStarts } from "../stream/stream-head.ts";
import { createFollowers, type Followers } from "../subscription/following/follow.ts";
import type { Subscriptions } from "../subscription/subscriptions.ts";
import type { Ground } from "./ground.ts";
import type { LogParts } from "./log.ts";

export type DeliveryParts = {
  hub: SseHub;
  subscriptionStreams: SubscriptionStreams;
  live: LiveHub;
  liveMemberships: LiveMemberships;
  /** As many connections are open as may be. */
  isFull: () => boolean;
};

const followersReading = 4;

export function startFollowers({ database, onStop, log }: Ground, { tail, schemas }: LogParts): Followers {
  const { reads } = database;
  const followers = createFollowers({
    tail,
    pool: reads,
    upcasting: schemas.upcasting,
    catchUps: createSemaphore(followersReading),
    streamStarts: (names) => reads.run((sql) => readStreamStarts(sql, names)),
    log,
  });
  onStop(followers.stop);
  return followers;
}

/** What is started here ends with the connections, when the service drains. */
export function startDelivery(
  { config, database, log }: Ground,
  { tail, wake, woken, schemas }: LogParts,
  subscriptions: Subscriptions,
  followers: Followers,
): DeliveryParts {
  const { reads, claims } = database;
  const feeds = { ...subscriptions, log };
  const common = {
    schemas: schemas.registry,
    heartbeatMs: config.heartbeatMs,
    retryMs: config.retryMs,
    bufferBytes: config.connectionBufferBytes,
  };
  const hub = createSseHub({ ...common, followers });
  const subscriptionStreams = createSubscriptionStreams({ ...common, feeds, log });
  const liveMemberships = createLiveMemberships(reads, claims);
  const live = createLiveHub({
    ...common,
    memberships: liveMemberships,
    followers,
    feeds,
    locate: (stream, position) => reads.run((sql) => locateStream(sql, stream, position, tail.head())),
    head: tail.head,
    announce: (id) => wake.sendLive([id]),
    forgottenMs: config.liveForgottenMs,
    log,
  });
  woken.onLive = live.reload;
  const isFull = () =>
    hub.counts().connections + subscriptionStreams.counts().connections + live.counts().connections >=
    config.maxConnections;
  return { hub, subscriptionStreams, live, liveMemberships, isFull };
}
