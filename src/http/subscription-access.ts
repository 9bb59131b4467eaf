// Finds the subscription that a request names, as it is now, for who may see or manage it.
import { forbidden, subscriptionNotFound } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import type { Subscription } from "../subscription/registry/subscription.ts";
import { readSubscriptionName } from "./parameters.ts";

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
