// Wires the metrics: which part each figure comes from.
import { readStandings } from "../delivery/bridge/outbound/publications.ts";
import { watchLoopLag } from "../ops/loop-lag.ts";
import { createMetrics, type Metrics } from "../ops/metrics.ts";
import { readStanding } from "../stream/outbox/standing.ts";
import { listRemoteStreams, mirrorLagSeconds } from "../stream/remote/remote-streams.ts";
import { createUnreadGauge } from "../subscription/receipts/unread-gauge.ts";
import { readFigures } from "../subscription/registry/figures.ts";
import type { Ground } from "./ground.ts";
import type { Parts } from "./parts.ts";

/** Each has a time series of several gauges. */
const subscriptionsMeasured = 200;
const projectionsMeasured = 200;
const streamsMeasured = 200;
const remoteStreamsMeasured = 200;
const measureTimeoutMs = 500;

export function startMetrics({ database, onStop, log }: Ground, parts: Parts): Metrics {
  const { reads } = database;
  const { tail, tally, schemas, workflows, sagas, projections, locks } = parts;
  const { ledger, deadLetters, membership, receipts, expiry, processed, resets } = parts.subscriptions;
  const loopLag = watchLoopLag();
  onStop(loopLag.stop);
  return createMetrics(
    {
      appends: parts.appender.counters,
      eventStreams: parts.hub.counts,
      subscriptionStreams: parts.subscriptionStreams.counts,
      liveConnections: parts.live.counts,
      tail: () => ({ head: tail.head(), lag: tail.lag() }),
      forgetting: parts.forgetting.counters,
      ledger: () => ({ ...ledger.counts(), ...ledger.counters(), expired: tally.counters().expired, resets: resets() }),
      deadLetters: () => ({ ...deadLetters.counters(), created: tally.counters().dead }),
      members: () => {
        const { joined, removed, silent } = membership.counters();
        return { joined, left: removed + tally.counters().left, silent };
      },
      receipts: () => ({ ...receipts.counters(), ...expiry.counters() }),
      unread: createUnreadGauge(reads),
      processed: processed.counters,
      locks: () => ({ ...locks.counters(), waiting: locks.waiting() }),
      schemas: {
        validated: schemas.validation.counters,
        upcasts: schemas.upcasting.counters,
        sandboxes: schemas.sandboxes,
      },
      workflows: { commands: workflows.runner.counters, deciders: workflows.deciderCounters },
      sagas: { counters: sagas.counters, figures: sagas.figures },
      outbox: { counters: parts.outbox.counters, standing: () => readStanding(reads) },
      bridge: parts.bridge && {
        connection: figuresOf(parts.bridge),
        outbound: parts.bridge.outbound.counters,
        standings: () => readStandings(reads, "", streamsMeasured),
      },
      remote: {
        counters: parts.mirrors.counters,
        async standings() {
          const found = await listRemoteStreams(reads, "", remoteStreamsMeasured);
          return found.map(({ id, name, isInHand, standing: told, retrying, deadLetters }) => {
            const standing = parts.mirrors.standingOf(id) ?? told;
            return {
              stream: name,
              up: Number(isInHand && standing?.state === "mirroring"),
              pending: standing?.pending ?? null,
              lagSeconds: mirrorLagSeconds(standing),
              retrying,
              deadLetters,
            };
          });
        },
      },
      projections: {
        counters: projections.counters,
        figures: () => projections.figures(projectionsMeasured),
      },
      subscriptions: () => readFigures(reads, subscriptionsMeasured, measureTimeoutMs),
      eventLoopLagSeconds: loopLag.seconds,
    },
    log,
  );
}

const figuresOf =
  ({ nats, breaker }: NonNullable<Parts["bridge"]>) =>
  () => ({
    connected: nats.state() === "connected",
    connects: nats.connects(),
    breakerOpen: breaker.state() === "open",
  });
