// The metrics of this process, or of all that serve one port, in the text format of Prometheus.
import { AggregatorRegistry, Gauge, Histogram, Registry } from "prom-client";
import type { Log } from "../base/log.ts";
import { addBridgeMetrics, type BridgeSources } from "./bridge-metrics.ts";
import { counterIn } from "./counter.ts";
import { addOutboxMetrics, type OutboxSources } from "./outbox-metrics.ts";
import { addProjectionMetrics, type ProjectionSources } from "./projection-metrics.ts";
import { addRemoteMetrics, type RemoteSources } from "./remote-metrics.ts";
import { addSagaMetrics, type SagaSources } from "./saga-metrics.ts";
import { addSchemaMetrics, type SchemaSources } from "./schema-metrics.ts";
import { createSubscriptionGauges, type SubscriptionFigures } from "./subscription-gauges.ts";
import type { ProcessMetrics } from "./workers/messages.ts";
import { addWorkflowMetrics, type WorkflowSources } from "./workflow-metrics.ts";

export type MetricsSources = {
  appends: () => {
    requests: number;
    events: number;
    duplicates: number;
    refused: number;
    failed: number;
    batches: number;
  };
  eventStreams: () => { connections: number; live: number; catchingUp: number; opened: number };
  subscriptionStreams: () => { connections: number; opened: number };
  liveConnections: () => { connections: number; opened: number };
  tail: () => { head: number; lag: number };
  forgetting: () => {
    trimmedEvents: number;
    purgedRows: number;
    waitingRows: number;
    droppedPartitions: number;
    lastRoundSeconds: number;
  };
  ledger: () => {
    desks: number;
    waiting: number;
    claimed: number;
    claims: number;
    windowsExhausted: number;
    setAside: number;
    settled: number;
    returned: number;
    stale: number;
    statements: number;
    /** Events whose time was over before they were settled. */
    expired: number;
    resets: number;
  };
  deadLetters: () => { created: number; replayed: number; discarded: number };
  members: () => { joined: number; left: number; silent: number };
  receipts: () => { read: number; requeued: number; dead: number; dropped: number };
  /** Events delivered and not read, by subscription. */
  unread: () => Promise<ReadonlyMap<string, number>>;
  processed: () => { marked: number; forgotten: number };
  locks: () => { acquired: number; refused: number; waiting: number };
  schemas: SchemaSources;
  workflows: WorkflowSources;
  outbox: OutboxSources;
  /** Null without NATS_URL. */
  bridge: BridgeSources | null;
  remote: RemoteSources;
  sagas: SagaSources;
  projections: ProjectionSources;
  /** How the subscriptions stand, within a moment. */
  subscriptions: () => Promise<SubscriptionFigures[]>;
  eventLoopLagSeconds: () => number;
};

export type Metrics = {
  observeAppend: (seconds: number) => void;
  /** What this process measured. */
  measure: () => Promise<ProcessMetrics>;
};

/** The text that Prometheus scrapes: of several processes one figure for each metric, by its way of aggregation. */
export async function renderMetrics(processes: ProcessMetrics[]): Promise<{ contentType: string; text: string }> {
  const registry = AggregatorRegistry.aggregate(processes);
  return { contentType: registry.contentType, text: await registry.metrics() };
}

// Below the time that the supervisor of workers gives each of them.
const measureWithinMs = 700;

export function createMetrics(sources: MetricsSources, log: Log): Metrics {
  const registry = new Registry();
  const counter = counterIn(registry);
  const gauge = (name: string, help: string, read: () => number, aggregator: "sum" | "max" = "sum") => {
    new Gauge({
      name,
      help,
      aggregator,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  const { appends, eventStreams, tail, forgetting } = sources;
  counter(
    "sluice_append_requests_total",
    "Append requests that reached the log, whatever their outcome.",
    () => appends().requests,
  );
  counter(
    "sluice_append_refused_total",
    "Append requests refused: version, id or key conflicts.",
    () => appends().refused,
  );
  counter(
    "sluice_append_failed_total",
    "Append requests that failed: overload, database away, unknown outcome.",
    () => appends().failed,
  );
  counter("sluice_append_batches_total", "Batches sent to the database.", () => appends().batches);
  counter("sluice_events_appended_total", "Events stored.", () => appends().events);
  counter("sluice_events_duplicate_total", "Events recognised as stored before.", () => appends().duplicates);
  counter("sluice_sse_connections_opened_total", "Event streams opened.", () => eventStreams().opened);
  gauge("sluice_sse_connections", "Open event streams.", () => eventStreams().connections);
  gauge("sluice_sse_connections_live", "Event streams that stand at the live end.", () => eventStreams().live);
  gauge(
    "sluice_sse_connections_catching_up",
    "Event streams that read history or fell behind.",
    () => eventStreams().catchingUp,
  );
  const { subscriptionStreams, liveConnections } = sources;
  counter("sluice_live_connections_opened_total", "Live connections opened.", () => liveConnections().opened);
  gauge("sluice_live_connections", "Open live connections.", () => liveConnections().connections);
  counter(
    "sluice_subscription_streams_opened_total",
    "Event streams of subscriptions opened.",
    () => subscriptionStreams().opened,
  );
  gauge("sluice_subscription_streams", "Open event streams of subscriptions.", () => subscriptionStreams().connections);
  gauge("sluice_tail_position", "The last position that the tail has.", () => tail().head, "max");
  gauge(
    "sluice_tail_lag_events",
    "Positions known to be committed that the tail has yet to get.",
    () => tail().lag,
    "max",
  );
  counter(
    "sluice_events_trimmed_total",
    "Events that retention or settlement has removed from their streams.",
    () => forgetting().trimmedEvents,
  );
  counter(
    "sluice_rows_purged_total",
    "Rows of removed events that were deleted from the disk.",
    () => forgetting().purgedRows,
  );
  counter(
    "sluice_partitions_dropped_total",
    "Partitions of the log that were dropped whole.",
    () => forgetting().droppedPartitions,
  );
  gauge(
    "sluice_rows_waiting_for_purge",
    "Rows of removed events that were on the disk after the last purge.",
    () => forgetting().waitingRows,
    "max",
  );
  gauge(
    "sluice_trim_round_seconds",
    "How long the last round of trimming took.",
    () => forgetting().lastRoundSeconds,
    "max",
  );
  const { ledger } = sources;
  counter("sluice_deliveries_total", "Events handed out to consumers.", () => ledger().claimed);
  counter("sluice_claim_statements_total", "Statements that handed out events.", () => ledger().claims);
  counter("sluice_settled_total", "Events that consumers acknowledged.", () => ledger().settled);
  counter("sluice_returned_total", "Events that consumers gave back.", () => ledger().returned);
  counter("sluice_stale_tokens_total", "Tokens that named no open delivery.", () => ledger().stale);
  counter("sluice_settlement_statements_total", "Statements that settled events.", () => ledger().statements);
  counter(
    "sluice_leases_expired_total",
    "Events whose time was over before their consumers settled them.",
    () => ledger().expired,
  );
  counter("sluice_offset_resets_total", "Cursors that were moved by a request.", () => ledger().resets);
  const { deadLetters, members } = sources;
  counter("sluice_dead_letters_created_total", "Events that became dead letters.", () => deadLetters().created);
  counter("sluice_dead_letters_replayed_total", "Dead letters that were put back.", () => deadLetters().replayed);
  counter("sluice_dead_letters_discarded_total", "Dead letters that were discarded.", () => deadLetters().discarded);
  counter("sluice_consumers_joined_total", "Consumers that became members.", () => members().joined);
  counter("sluice_consumers_left_total", "Members that left or were removed.", () => members().left);
  counter("sluice_consumers_silent_total", "Members that fell silent.", () => members().silent);
  gauge("sluice_claims_waiting", "Claims that wait for events.", () => ledger().waiting);
  gauge("sluice_cursors_active", "Cursors at which consumers asked lately.", () => ledger().desks);
  counter(
    "sluice_group_windows_exhausted_total",
    "Times a consumer group's cursor stopped because a member's share of the window (GROUP_WINDOW) was full.",
    () => ledger().windowsExhausted,
  );
  counter(
    "sluice_group_members_set_aside_total",
    "Members whose keys went to the others because they took nothing while their share of the window was full.",
    () => ledger().setAside,
  );
  const { receipts } = sources;
  counter(
    "sluice_receipts_read_total",
    "Events that consumers of read-receipt subscriptions have read.",
    () => receipts().read,
  );
  counter(
    "sluice_receipts_requeued_total",
    "Events not read in time that are handed out anew.",
    () => receipts().requeued,
  );
  counter("sluice_receipts_dead_total", "Events not read in time that were given up at once.", () => receipts().dead);
  counter("sluice_receipts_dropped_total", "Events not read in time that were dropped.", () => receipts().dropped);
  new Gauge({
    name: "sluice_unread_events",
    help: "Events delivered to consumers and not read, of the read-receipt subscriptions that have most.",
    labelNames: ["subscription"],
    // Each process counts in the same database.
    aggregator: "max",
    registers: [registry],
    async collect() {
      this.reset();
      for (const [subscription, count] of await sources.unread()) this.set({ subscription }, count);
    },
  });
  const { processed } = sources;
  counter("sluice_processed_marked_total", "Events marked as processed.", () => processed().marked);
  counter(
    "sluice_processed_forgotten_total",
    "Marks that were older than PROCESSED_WINDOW.",
    () => processed().forgotten,
  );
  const { locks } = sources;
  counter("sluice_locks_acquired_total", "Named locks taken.", () => locks().acquired);
  counter("sluice_locks_refused_total", "Requests for named locks that were held.", () => locks().refused);
  gauge("sluice_locks_waiting", "Requests that wait for a named lock.", () => locks().waiting);
  addSchemaMetrics(registry, sources.schemas);
  addWorkflowMetrics(registry, sources.workflows);
  addOutboxMetrics(registry, sources.outbox);
  if (sources.bridge !== null) addBridgeMetrics(registry, sources.bridge);
  addRemoteMetrics(registry, sources.remote);
  addSagaMetrics(registry, sources.sagas);
  gauge("sluice_event_loop_lag_seconds", "How late the last timer came.", sources.eventLoopLagSeconds, "max");
  gauge("sluice_process_resident_memory_bytes", "Resident memory.", () => process.memoryUsage().rss);
  gauge("sluice_workers", "Processes that serve.", () => 1);
  const projectionGauges = addProjectionMetrics(registry, sources.projections, measureWithinMs, log);
  const subscriptionGauges = createSubscriptionGauges(registry, sources.subscriptions, measureWithinMs, log);
  const latency = new Histogram({
    name: "sluice_append_duration_seconds",
    help: "From the arrival of an append to its answer, for those that were stored.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  return {
    observeAppend: (seconds) => latency.observe(seconds),
    async measure() {
      await Promise.all([subscriptionGauges.refresh(), projectionGauges.refresh()]);
      return registry.getMetricsAsJSON();
    },
  };
}
