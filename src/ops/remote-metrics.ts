// The metrics of remote streams: what this process mirrored, and how far each mirror is behind.
import type { Registry } from "prom-client";
import { counterIn } from "./counter.ts";
import { streamGaugesIn } from "./stream-gauges.ts";

export type RemoteSources = {
  counters: () => {
    received: number;
    redelivered: number;
    appended: number;
    setAside: number;
    dead: number;
    sessions: number;
  };
  /** How the remote streams stand; rejects when the database is away. */
  standings: () => Promise<RemoteFigures[]>;
};

type RemoteFigures = {
  stream: string;
  up: number;
  /** Null while no process knows. */
  pending: number | null;
  lagSeconds: number | null;
  retrying: number;
  deadLetters: number;
};

export function addRemoteMetrics(registry: Registry, { counters, standings }: RemoteSources): void {
  const counter = counterIn(registry);
  counter("sluice_remote_received_total", "Messages of remote streams that came.", () => counters().received);
  counter("sluice_remote_redelivered_total", "Those of them that had come before.", () => counters().redelivered);
  counter(
    "sluice_remote_appended_total",
    "Events of remote streams, those included that were there already.",
    () => counters().appended,
  );
  counter(
    "sluice_remote_set_aside_total",
    "Messages that could not become events when they came.",
    () => counters().setAside,
  );
  counter(
    "sluice_remote_given_up_total",
    "Messages that were given up: at once, or after the last try.",
    () => counters().dead,
  );
  counter(
    "sluice_remote_sessions_total",
    "Times that a mirror looked where to go on in JetStream.",
    () => counters().sessions,
  );

  const gauge = streamGaugesIn(registry, standings);
  gauge("sluice_remote_up", "1 while the messages of a remote stream are taken as they come.", "up");
  gauge(
    "sluice_remote_pending",
    "Messages of a remote stream that are not mirrored yet; left out while no process knows.",
    "pending",
  );
  gauge(
    "sluice_remote_lag_seconds",
    "How long the first of them has been in JetStream; left out likewise.",
    "lagSeconds",
  );
  gauge("sluice_remote_retrying", "Messages that are tried again, counted up to 10000.", "retrying");
  gauge("sluice_remote_dead_letters", "Messages that were given up, counted up to 10000.", "deadLetters");
}
