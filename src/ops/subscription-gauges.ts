// Gauges of the subscriptions, read from the database when somebody scrapes.
import { Gauge, type Registry } from "prom-client";
import type { Log } from "../base/log.ts";

/** One figure for each gauge. */
export type SubscriptionFigures = {
  subscription: string;
  inFlight: number;
  waiting: number;
  parked: number;
  pausedKeys: number;
  deadLetters: number;
  consumers: number;
  lagEvents: number;
  lagSeconds: number;
};

type Figure = Exclude<keyof SubscriptionFigures, "subscription">;

const figures: Record<Figure, { name: string; help: string }> = {
  inFlight: { name: "sluice_subscription_in_flight", help: "Events handed out and not settled." },
  waiting: {
    name: "sluice_subscription_waiting",
    help: "Events that wait to be handed out: for another attempt, and in a consumer group also for the member whose they are.",
  },
  parked: { name: "sluice_subscription_parked", help: "Events that wait because their keys are paused." },
  pausedKeys: {
    name: "sluice_subscription_paused_keys",
    help: "Paused keys of a consumer group, counted up to 10000.",
  },
  deadLetters: { name: "sluice_subscription_dead_letters", help: "Dead letters, counted up to 10000." },
  consumers: { name: "sluice_subscription_consumers", help: "Members now." },
  lagEvents: {
    name: "sluice_subscription_lag_events",
    help: "Matching events that the slowest cursor has not settled; where filters apply, of the next few hundred.",
  },
  lagSeconds: {
    name: "sluice_subscription_lag_seconds",
    help: "How long the oldest event that is not settled has been in the log.",
  },
};

export type SubscriptionGauges = { refresh: () => Promise<void> };

/** `refresh` sets the gauges anew; a subscription that is gone has none, and none has one when the database is slow. */
export function createSubscriptionGauges(
  registry: Registry,
  read: () => Promise<SubscriptionFigures[]>,
  withinMs: number,
  log: Log,
): SubscriptionGauges {
  // Workers read the same tables: their figures differ by a moment only.
  const gauges = Object.entries(figures).map(([figure, { name, help }]) => ({
    figure: figure as Figure,
    gauge: new Gauge({ name, help, labelNames: ["subscription"], aggregator: "max", registers: [registry] }),
  }));
  let reading: Promise<SubscriptionFigures[]> | null = null;

  /** One read at a time, however many scrape, and however long a dead connection keeps it. */
  function readOnce(): Promise<SubscriptionFigures[]> {
    reading ??= read()
      .catch((error: unknown) => {
        log.debug({ err: error }, "the subscriptions could not be measured");
        return [];
      })
      .finally(() => {
        reading = null;
      });
    return reading;
  }

  return {
    async refresh() {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<SubscriptionFigures[]>((resolve) => {
        timer = setTimeout(() => resolve([]), withinMs);
      });
      const rows = await Promise.race([readOnce(), late]);
      clearTimeout(timer);
      for (const { figure, gauge } of gauges) {
        gauge.reset();
        for (const row of rows) gauge.set({ subscription: row.subscription }, row[figure]);
      }
    },
  };
}
