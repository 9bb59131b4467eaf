// The subscriptions of a run: which there are, and how they are configured, follows from the seed.
import type { SubscriptionDeclared } from "./consumer-history.ts";
import type { Random } from "./random.ts";
import { registrations, targets } from "./versioned.ts";

/** The stream that most subscriptions share, and one that forgets what is settled. */
export const sharedStream = "jobs";
export const ephemeralStream = "tasks";

type Kind = Pick<SubscriptionDeclared, "subscription" | "mode"> & Partial<SubscriptionDeclared>;

const kinds: readonly Kind[] = [
  { subscription: "shared", mode: "exclusive" },
  { subscription: "everyone", mode: "broadcast" },
  { subscription: "by-key", mode: "consumer-group", onFailure: "skip" },
  { subscription: "by-key-pausing", mode: "consumer-group", onFailure: "pause", maxAttempts: 10 },
  { subscription: ephemeralStream, mode: "exclusive", isQueue: true, stream: ephemeralStream },
  { subscription: "tasks-too", mode: "exclusive", stream: ephemeralStream },
  { subscription: "at-most-once", mode: "exclusive", delivery: "at-most-once" },
  { subscription: "inbox", mode: "read-receipt" },
  { subscription: "once", mode: "exclusive", delivery: "exactly-once" },
  { subscription: "once-by-key", mode: "consumer-group", onFailure: "skip", delivery: "exactly-once" },
];

/** Three of them at least; `only` names those that are wanted. */
export function declareSubscriptions(random: Random, only?: readonly string[]): SubscriptionDeclared[] {
  const chosen = kinds.filter(({ subscription }) => only?.includes(subscription) ?? true);
  while (only === undefined && chosen.length > 3 && random.chance(0.6))
    chosen.splice(random.between(0, chosen.length - 1), 1);
  return chosen.map((kind) => ({
    ...{ kind: "subscription", isQueue: false, stream: sharedStream, delivery: "at-least-once", onFailure: "skip" },
    types: kind.mode === "exclusive" && kind.isQueue !== true && random.chance(0.3) ? ["Opened", "Closed"] : null,
    // Shorter than some hold their events, or a slot that moves never has to be taken from its owner.
    visibilityTimeoutMs: random.pick(kind.mode === "consumer-group" ? [300, 600, 1_200] : [600, 1_000, 2_000, 3_000]),
    maxInFlight: kind.isQueue === true ? 10_000 : random.pick([5, 30, 1_000]),
    maxAttempts: random.pick([2, 4, 8]),
    consumerTimeoutMs: kind.isQueue === true ? 60_000 : random.pick([1_000, 1_000, 2_000, 60_000]),
    ...kind,
  }));
}

/** Each consumer has a cursor, and events, of its own. */
export const isPerConsumer = ({ mode }: Pick<SubscriptionDeclared, "mode">) =>
  mode === "broadcast" || mode === "read-receipt";

/** The requests that create them, in order; a repetition changes nothing. */
export function configurationsOf(
  random: Random,
  subscriptions: readonly SubscriptionDeclared[],
): { path: string; body: object }[] {
  const backoff = { initial: random.pick(["0ms", "100ms"]), factor: 2, max: "500ms" };
  const queue = subscriptions.find(({ isQueue }) => isQueue);
  const queueSettings = queue && {
    ...{ visibilityTimeout: `${queue.visibilityTimeoutMs}ms`, maxAttempts: queue.maxAttempts, backoff },
  };
  const uses = (name: string) => subscriptions.some(({ stream }) => stream === name);
  return [
    // Of a stream that promises less no subscription can be exactly-once.
    ...(uses(sharedStream) ? [{ path: `/api/streams/${sharedStream}`, body: { delivery: "exactly-once" } }] : []),
    ...(uses(ephemeralStream)
      ? [{ path: `/api/streams/${ephemeralStream}`, body: { type: "ephemeral", ...queueSettings } }]
      : []),
    ...registrations,
    ...subscriptions
      .filter(({ isQueue }) => !isQueue)
      .map((declared) => ({ path: pathOf(declared), body: configurationOf(random, declared, backoff) })),
  ];
}

export const pathOf = ({ subscription }: SubscriptionDeclared) => `/api/subscriptions/${subscription}`;

function configurationOf(random: Random, declared: SubscriptionDeclared, backoff: object): object {
  const { stream, mode, types, maxInFlight, maxAttempts, delivery, onFailure } = declared;
  const own = random.fork(declared.subscription);
  const slots = own.pick([2, 5, 64]);
  return {
    ...{ stream, mode, delivery, from: "beginning", maxInFlight, maxAttempts, backoff, receiveAs: own.pick(targets) },
    visibilityTimeout: `${declared.visibilityTimeoutMs}ms`,
    consumerTimeout: `${declared.consumerTimeoutMs}ms`,
    ...(types === null ? {} : { types }),
    ...(mode === "consumer-group" ? { onFailure, slots } : {}),
  };
}
