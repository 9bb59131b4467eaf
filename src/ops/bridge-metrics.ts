// The metrics of the bridge to NATS: the connection of this process, what it published, and how far each stream is behind.
import { Gauge, type Registry } from "prom-client";
import { counterIn } from "./counter.ts";
import { streamGaugesIn } from "./stream-gauges.ts";

export type BridgeSources = {
  connection: () => { connected: boolean; connects: number; breakerOpen: boolean };
  outbound: () => {
    published: number;
    confirmed: number;
    realigned: number;
    withheld: number;
    underWay: number;
    publishes: boolean;
  };
  /** How the published streams stand; rejects when the database is away. */
  standings: () => Promise<{ stream: string; lagEvents: number; lagSeconds: number; withheld: number }[]>;
};

export function addBridgeMetrics(registry: Registry, { connection, outbound, standings }: BridgeSources): void {
  const counter = counterIn(registry);
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  gauge("sluice_bridge_connected", "Processes that are connected to NATS.", () => Number(connection().connected));
  counter("sluice_bridge_connects_total", "Times that a connection to NATS was made.", () => connection().connects);
  gauge(
    "sluice_bridge_breaker_open",
    "Processes that do not ask JetStream about a stream for now, because it did not answer.",
    () => Number(connection().breakerOpen),
  );
  gauge("sluice_bridge_publishes", "Processes that publish to NATS: one, or none while it passes on.", () =>
    Number(outbound().publishes),
  );
  counter("sluice_bridge_published_total", "Messages handed to the connection.", () => outbound().published);
  counter("sluice_bridge_confirmed_total", "Messages that JetStream has confirmed.", () => outbound().confirmed);
  gauge("sluice_bridge_pending", "Messages that JetStream has not confirmed yet.", () => outbound().underWay);
  counter(
    "sluice_bridge_realigned_total",
    "Times that publishing a stream ended because JetStream had something else than was thought, or did not answer.",
    () => outbound().realigned,
  );
  counter("sluice_bridge_withheld_total", "Events that this process has withheld.", () => outbound().withheld);

  const ofStream = streamGaugesIn(registry, standings);
  ofStream("sluice_bridge_lag_events", "Events of a stream that are not known to be published.", "lagEvents");
  ofStream("sluice_bridge_lag_seconds", "How long the first of them has been in the log.", "lagSeconds");
  ofStream("sluice_bridge_withheld_events", "Events of a stream that the server does not take.", "withheld");
}
