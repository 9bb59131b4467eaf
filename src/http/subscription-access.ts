// Finds the subscription that a request names, as it is now, for who may see or manage it.
import { forbidden, notAQueue, streamNotFound, subscriptionNotFound } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import type { Pool } from "../storage/pool.ts";
import { readStreamHeads } from "../stream/stream-head.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import { queueName, type Subscription } from "../subscription/registry/subscription.ts";
import { readStreamName, readSubscriptionName } from "./parameters.ts";

export function seesSubscription(principal: Principal, { streams }: Subscription): boolean {
  return streams === null || streams.every((name) => principal.canRead(name));
}

/** Throws `invalid-subscription-name`, `subscription-not-found`. */
export async function visibleSubscription(
  catalog: Catalog,
  principal: Principal,
  given: string | undefined,
): Promise<Subscription> {
  const name = readSubscriptionName(given ?? "");
  const subscription = await catalog.refresh(name);
  if (subscription === null || !seesSubscription(principal, subscription)) throw subscriptionNotFound(name);
  return subscription;
}

/**
 * The built-in queue of a stream, as it is now; null where nobody has used it yet: looking at a queue is no use of it.
 * Throws `invalid-stream-name`, `forbidden`, `stream-not-found`, `not-a-queue`.
 */
export async function visibleQueue(
  catalog: Pick<Catalog, "refresh">,
  reads: Pool,
  principal: Principal,
  given: string | undefined,
): Promise<Subscription | null> {
  const stream = readStreamName(given ?? "");
  if (!principal.canRead(stream)) throw forbidden(`Reading stream ${stream} is not allowed`);
  const found = await catalog.refresh(queueName(stream));
  if (found !== null) return found;
  const [head] = await reads.run((sql) => readStreamHeads(sql, [stream]));
  if (head === undefined || !head.exists) throw streamNotFound(stream);
  if (!head.configuration.ephemeral) throw notAQueue(stream);
  return null;
}

/** Throws also `forbidden`. */
export async function manageableSubscription(
  catalog: Catalog,
  principal: Principal,
  given: string | undefined,
): Promise<Subscription> {
  const subscription = await visibleSubscription(catalog, principal, given);
  requireManage(principal, subscription.streams);
  return subscription;
}

/** Throws `forbidden`. */
export function requireManage(principal: Principal, streams: readonly string[] | null): void {
  const refused = streams?.find((name) => !principal.canManage(name));
  if (refused !== undefined) throw forbidden(`Managing subscriptions of stream ${refused} is not allowed`);
}
