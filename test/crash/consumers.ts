// Consumers: several for each subscription, who come and go, claim or follow, and settle in ways of their own.
import { setTimeout as sleep } from "node:timers/promises";
import type { Delivered, SubscriptionDeclared } from "./consumer-history.ts";
import { createDeliveryClient, type DeliveryClient } from "./delivery-client.ts";
import { createHandling, type Handling } from "./handling.ts";
import type { History } from "./history.ts";
import { createMarking } from "./marking.ts";
import type { Random } from "./random.ts";
import { createReading, type Reading } from "./reading.ts";

export type Consumers = {
  /** They stay from now on, and settle everything at once. */
  calm: () => void;
  stop: () => Promise<void>;
  /** Those with read receipts look at what they have not read. */
  listUnread: () => Promise<void>;
};

export type ConsumersOptions = {
  history: History;
  random: Random;
  subscriptions: readonly SubscriptionDeclared[];
  ports: readonly number[];
  feedPorts: readonly number[];
};

type Consumer = {
  name: string;
  declared: SubscriptionDeclared;
  client: DeliveryClient;
  handling: Handling;
  /** Null where nothing is kept until it is read. */
  reading: Reading | null;
  random: Random;
};

const perSubscription = 4;

/** The names of a subscription's consumers; all of them are there at the end. */
export const consumerNames = ({ subscription }: SubscriptionDeclared) =>
  Array.from({ length: perSubscription }, (_, i) => `${subscription}-${i}`);

export function startConsumers({ history, random, subscriptions, ports, feedPorts }: ConsumersOptions): Consumers {
  let op = 0;
  const stop = new AbortController();
  /** Fires for those who rest, or stay away for long. */
  const calm = new AbortController();
  const consumers = subscriptions.flatMap((declared) =>
    consumerNames(declared).map((name): Consumer => {
      const own = random.fork(name);
      const nextOp = () => op++;
      const common = { history, declared, consumer: name, ports, nextOp };
      const client = createDeliveryClient({ history, random: own.fork("client"), ports, feedPorts, nextOp });
      const marking = createMarking({ ...common, random: own.fork("marking") });
      const handling = createHandling({
        ...{ client, marking, history, random: own.fork("handling"), declared, consumer: name, giveUp: stop.signal },
      });
      const reading =
        declared.mode === "read-receipt" ? createReading({ ...common, random: own.fork("reading") }) : null;
      return { name, declared, client, random: own, handling, reading };
    }),
  );
  const pause = (ms: number) => sleep(ms, undefined, { signal: calm.signal }).catch(() => {});

  async function live(consumer: Consumer): Promise<void> {
    const { random: own, declared } = consumer;
    await pause(own.between(0, 500));
    // A queue has no event stream of its own, and a calm consumer stays with what it has chosen.
    const follows = !declared.isQueue && own.chance(0.5);
    while (!stop.signal.aborted) {
      if (calm.signal.aborted) await (follows ? followSteadily(consumer) : claimOnce(consumer, 1_000));
      else {
        const kind = own.pick(["claim", "claim", "follow"] as const);
        if (own.chance(0.12)) await hoard(consumer);
        else if (kind === "follow" && !declared.isQueue) await follow(consumer);
        else await claimForAWhile(consumer);
        await pause(own.chance(0.5) ? 0 : own.chance(0.6) ? own.between(0, 1_000) : own.between(1_000, 5_000));
      }
    }
    await consumer.handling.idle();
  }

  async function claimForAWhile(consumer: Consumer): Promise<void> {
    for (let left = consumer.random.between(1, 15); left > 0 && !calm.signal.aborted; left--) {
      const atOnce = consumer.random.chance(0.15) ? 2 : 1;
      await Promise.all(Array.from({ length: atOnce }, () => claimOnce(consumer, consumer.random.pick([0, 100, 800]))));
    }
  }

  async function claimOnce({ name, declared, client, handling, reading, random: own }: Consumer, waitMs: number) {
    const leave = new AbortController();
    const timer =
      own.chance(0.08) && !calm.signal.aborted ? setTimeout(() => leave.abort(), own.between(0, 300)) : null;
    const deliveries = await client.claim(declared, name, {
      max: own.pick([1, 3, 20, 100]),
      waitMs,
      visibilityTimeoutMs: own.chance(0.2) ? own.between(300, 4_500) : null,
      leave: leave.signal,
    });
    if (timer !== null) clearTimeout(timer);
    if (deliveries === null) await pause(own.between(50, 200));
    else {
      reading?.know(deliveries);
      await handling.handle(deliveries);
    }
  }

  /** Takes a little again and again, and settles all of it at its end: others come meanwhile, and want their share. */
  async function hoard({ name, declared, client, handling, random: own }: Consumer): Promise<void> {
    const hoarded: Delivered[] = [];
    for (let left = own.between(3, 20); left > 0 && !calm.signal.aborted; left--) {
      const wish = { max: own.between(1, 5), waitMs: 0, visibilityTimeoutMs: own.between(2_000, 5_000) };
      hoarded.push(...((await client.claim(declared, name, wish)) ?? []));
      await pause(own.between(20, 300));
    }
    await handling.handle(hoarded);
  }

  /** Follows for a while; at times it does nothing with what it gets. */
  async function follow(consumer: Consumer): Promise<void> {
    const { random: own } = consumer;
    const leave = AbortSignal.any([AbortSignal.timeout(own.between(100, 4_000)), calm.signal]);
    if (own.chance(0.15)) await consumer.client.feed(consumer.declared, consumer.name, leave, () => {});
    else await feed(consumer, leave);
  }

  async function followSteadily(consumer: Consumer): Promise<void> {
    await feed(consumer, stop.signal);
    await sleep(100);
  }

  /** Handles what comes in one batch after the other, and whatever is left when the connection has ended. */
  async function feed({ name, declared, client, handling, reading }: Consumer, leave: AbortSignal): Promise<void> {
    const batches: Delivered[][] = [];
    let wake = () => {};
    let over = false;
    const following = client
      .feed(declared, name, leave, (deliveries) => {
        reading?.know(deliveries);
        batches.push(deliveries);
        wake();
      })
      .then(() => {
        over = true;
        wake();
      });
    while (!over || batches.length > 0) {
      const next = batches.splice(0).flat();
      if (next.length > 0) await handling.handle(next);
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (over || batches.length > 0) resolve();
        });
    }
    await following;
  }

  const running = Promise.all(
    consumers.map((consumer) => Promise.all([live(consumer), consumer.reading?.run(calm.signal)])),
  );
  return {
    calm() {
      for (const { handling } of consumers) handling.calm();
      calm.abort();
    },
    async stop() {
      calm.abort();
      stop.abort();
      await running;
    },
    async listUnread() {
      await Promise.all(consumers.map(({ reading }) => reading?.list()));
    },
  };
}
