// The subscriptions of a run: which there are, and how they are configured, follows from the seed.
import { setTimeout as sleep } from "node:timers/promises";
import type { SubscriptionDeclared } from "./consumer-history.ts";
import { createHttpConnection } from "./http-connection.ts";
import type { Random } from "./random.ts";

/** The stream that most subscriptions share, and one that forgets what is settled. */
export const sharedStream = "jobs";
export const ephemeralStream = "tasks";

const silenceMs = 8_000;
const createMs = 20_000;

type Kind = Pick<SubscriptionDeclared, "subscription" | "mode"> & Partial<SubscriptionDeclared>;

const kinds: readonly Kind[] = [
  { subscription: "shared", mode: "exclusive" },
  { subscription: "everyone", mode: "broadcast" },
  { subscription: "by-key", mode: "consumer-group", onFailure: "skip" },
  { subscription: "by-key-pausing", mode: "consumer-group", onFailure: "pause", maxAttempts: 10 },
  { subscription: ephemeralStream, mode: "exclusive", isQueue: true, stream: ephemeralStream },
  { subscription: "tasks-too", mode: "exclusive", stream: ephemeralStream },
  { subscription: "at-most-once", mode: "exclusive", delivery: "at-most-once" },
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

/** Creates them, as a client that asks again until it is answered. */
export async function createSubscriptions(
  port: number,
  random: Random,
  subscriptions: readonly SubscriptionDeclared[],
): Promise<void> {
  const backoff = { initial: random.pick(["0ms", "100ms"]), factor: 2, max: "500ms" };
  for (const declared of subscriptions) {
    const visibilityTimeout = `${declared.visibilityTimeoutMs}ms`;
    const { stream, mode, types, maxInFlight, maxAttempts, delivery, subscription } = declared;
    if (stream === ephemeralStream) {
      await put(port, `/api/streams/${stream}`, { type: "ephemeral", ...queueSettings(subscriptions, backoff) });
      if (declared.isQueue) continue;
    }
    await put(port, `/api/subscriptions/${subscription}`, {
      ...{ stream, mode, delivery, from: "beginning", visibilityTimeout, maxInFlight, maxAttempts, backoff },
      consumerTimeout: `${declared.consumerTimeoutMs}ms`,
      ...(types === null ? {} : { types }),
      ...(mode === "consumer-group"
        ? { onFailure: declared.onFailure, slots: random.fork(subscription).pick([2, 5, 64]) }
        : {}),
    });
  }
}

function queueSettings(subscriptions: readonly SubscriptionDeclared[], backoff: object): object {
  const queue = subscriptions.find(({ isQueue }) => isQueue);
  if (queue === undefined) return {};
  return { visibilityTimeout: `${queue.visibilityTimeoutMs}ms`, maxAttempts: queue.maxAttempts, backoff };
}

async function put(port: number, path: string, body: object): Promise<void> {
  const request = {
    ...{ method: "PUT" as const, path, silenceMs },
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  let told = "";
  for (const deadline = Date.now() + createMs; Date.now() < deadline; await sleep(100)) {
    const connection = createHttpConnection(port);
    const answer = await connection.send(request).catch(() => null);
    connection.close();
    if (answer !== null && answer.status < 300) return;
    told = answer?.body ?? "nothing";
  }
  throw new Error(`PUT ${path} was answered ${told}`);
}
