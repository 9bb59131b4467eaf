// Handles what a subscription hands out: calls the handlers, acknowledges what they have done, gives back what they could not.
import type { Log } from "../../base/log.ts";
import { withstand } from "../../storage/withstand.ts";
import type { StoredEvent, UpcastFailure } from "../../stream/event.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import type { Delivery } from "../../subscription/ledger/delivery.ts";
import { keyHash } from "../../subscription/ledger/key-hash.ts";
import type { Return, Settlement } from "../../subscription/ledger/settlements.ts";
import { knownVersions } from "../events/known-versions.ts";
import { contextOf } from "../events/recorded-event.ts";
import { typedData } from "../events/typed-data.ts";
import { messageOf } from "../handlers/message-of.ts";
import { withTimeLimit } from "../handlers/time-limit.ts";
import type { HandledType, SubscriptionDefinition } from "./define-subscription.ts";
import { handledDelivery, type Reach } from "./handled-delivery.ts";

export type HandlingDependencies = {
  /** Settles a delivery for good. */
  acknowledge: (token: string) => Promise<Settlement>;
  giveBack: (token: string, how: Return) => Promise<Settlement>;
  upcasting: Pick<Upcasting, "attempt">;
  reach: Reach;
  log: Log;
};

/**
 * Handles the deliveries of one handout, so many at a time; resolves when all are settled, or the signal has fired and the handlers
 * under way are done. `isGroup`: those of one key are handled one after the other, and behind one that failed not at all: the
 * ledger hands them out again behind it. `onSettled` is told each token that needs no keeping any more.
 */
export async function handleAll(
  { acknowledge, giveBack, upcasting, reach, log }: HandlingDependencies,
  { name, handlers, timeoutMs, concurrency }: SubscriptionDefinition,
  deliveries: readonly Delivery[],
  { isGroup, onSettled, signal }: { isGroup: boolean; onSettled: (token: string) => void; signal: AbortSignal },
): Promise<void> {
  const byType = new Map(handlers.map((handler) => [handler.type.name, handler]));
  // Upcast here, and not by the subscription: processes of two versions of a module may share it, and each gets what it knows.
  const target = knownVersions(handlers.map(({ type }) => type));
  const events = deliveries.map(({ event }) => event);
  const attempted = await withstand(async () => upcasting.attempt(events, target), signal);
  const shown = new Map(deliveries.map((delivery, n) => [delivery, attempted[n] as StoredEvent | UpcastFailure]));

  /** Null when it is done, else what becomes of it. */
  async function handle(delivery: Delivery): Promise<Return | null> {
    const { attempt } = delivery;
    const handler = byType.get(delivery.event.type);
    // Of a type that only `types` names.
    if (handler === undefined) return null;
    const given = fitted(shown.get(delivery) as StoredEvent | UpcastFailure, handler);
    if ("action" in given) return given;
    const { event, data } = given;
    try {
      await withTimeLimit(timeoutMs, (limit) =>
        handler.handle(data, contextOf(event), handledDelivery(reach, name, event, attempt, limit)),
      );
      return null;
    } catch (error) {
      log.warn({ err: error, subscription: name, position: event.position, attempt }, "a handler failed");
      const reason = messageOf(error);
      return {
        action: "requeue",
        delayMs: null,
        reason: reason || "it failed",
      };
    }
  }

  const settling: Promise<unknown>[] = [];

  /** Whether it went well. */
  async function process(delivery: Delivery): Promise<boolean> {
    const outcome = await handle(delivery);
    // What was given away for good is settled.
    if (delivery.deadline !== null) {
      const { token } = delivery;
      const settled = (outcome === null ? acknowledge(token) : giveBack(token, outcome))
        .catch((error: unknown) => log.debug({ err: error, subscription: name }, "a delivery waits for its deadline"))
        .finally(() => onSettled(token));
      // The next one need not wait for it; but behind a failure, whoever is next has to know.
      if (outcome === null) settling.push(settled);
      else await settled;
    }
    return outcome === null;
  }

  const lines = [...Map.groupBy(deliveries, (delivery) => (isGroup ? keyHash(delivery.event) : delivery)).values()];
  async function work(): Promise<void> {
    for (let line = lines.shift(); line !== undefined; line = lines.shift())
      for (const delivery of line) {
        if (signal.aborted) return;
        if (!(await process(delivery)) && isGroup) break;
      }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, lines.length) }, work));
  await Promise.all(settling);
}

/** An event with the data that its handler gets; or what becomes of one that cannot be given to it. */
function fitted(
  event: StoredEvent | UpcastFailure,
  { type }: HandledType,
): { event: StoredEvent; data: unknown } | Return {
  if ("failure" in event)
    return { action: event.passing ? "requeue" : "dead-letter", delayMs: null, reason: event.failure };
  const known = type.versions.length;
  if (event.schemaVersion > known)
    return {
      // A process of a newer version of the module may take it.
      ...{ action: "requeue", delayMs: null },
      reason: `it is version ${event.schemaVersion} of ${type.name}, of which the module knows ${known}`,
    };
  try {
    return { event, data: typedData(event, type) };
  } catch (error) {
    return { action: "dead-letter", delayMs: null, reason: messageOf(error) };
  }
}
