// Brings what is handed out to the versions that its subscription wants; what cannot be upcast becomes a dead letter.
import { setTimeout as sleep } from "node:timers/promises";
import { Problem, schemasUnavailable } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { StoredEvent, UpcastFailure } from "../stream/event.ts";
import type { Upcasting } from "../stream/schema/upcasting.ts";
import type { Delivery } from "./ledger/delivery.ts";
import { keyHash } from "./ledger/key-hash.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { Subscription } from "./registry/subscription.ts";

export type Receiving = {
  /**
   * The deliveries of a handout with their events as they are wanted. Of a lease, what cannot be upcast becomes a dead letter;
   * what was given away says why in its `upcasterror`. Throws `schemas-unavailable` and `overloaded` when this process cannot
   * upcast now, after everything has been put back.
   */
  receive: (subscription: Subscription, handout: ReceivedHandout) => Promise<Delivery[]>;
};

/** What was handed out, under which cursor. */
export type ReceivedHandout = {
  cursor: number;
  deliveries: Delivery[];
  leases: { step: number; part: number }[];
};

type Shaped = StoredEvent | UpcastFailure;
type Failed = { delivery: Delivery; failure: string };
/** What became of the events of a handout. */
type Attempt = "as-stored" | readonly Shaped[] | Problem;

export type ReceivingOptions = {
  upcasting: Pick<Upcasting, "attempt" | "mark">;
  ledger: Pick<Ledger, "giveBack" | "putBack">;
  log: Log;
};

const retryMs = 100;
const maxRetryMs = 1_000;

export function createReceiving({ upcasting, ledger, log }: ReceivingOptions): Receiving {
  async function giveUp(subscription: Subscription, failed: readonly Failed[]): Promise<void> {
    for (const [failure, same] of Map.groupBy(failed, (item) => item.failure)) {
      log.warn(
        { subscription: subscription.name, events: same.length, position: same[0]?.delivery.event.position, failure },
        "events cannot be upcast and become dead letters",
      );
      const tokens = same.map(({ delivery }) => delivery.token);
      await ledger.giveBack(
        { subscription: subscription.id, consumer: null, tokens },
        { action: "dead-letter", delayMs: null, reason: failure },
      );
    }
  }

  /** What was given away has left the ledger: all that can be done is to say what it is not. */
  const marked = (delivery: Delivery, failure: string): Delivery => ({
    ...delivery,
    event: upcasting.mark(delivery.event, failure),
  });

  async function attempt(subscription: Subscription, deliveries: readonly Delivery[]): Promise<Attempt> {
    const events = deliveries.map(({ event }) => event);
    try {
      const shown = await upcasting.attempt(events, subscription.receiveAs);
      return shown === events ? "as-stored" : shown;
    } catch (error) {
      log.debug({ err: error, subscription: subscription.name }, "nothing can be upcast now");
      return error instanceof Problem ? error : schemasUnavailable();
    }
  }

  /** What was given away cannot be given back: a moment of patience is worth more than a mark. */
  async function attemptPatiently(subscription: Subscription, deliveries: readonly Delivery[]): Promise<Attempt> {
    for (let delayMs = retryMs; ; delayMs *= 2) {
      const attempted = await attempt(subscription, deliveries);
      if (!(attempted instanceof Problem) || delayMs > maxRetryMs) return attempted;
      await sleep(delayMs);
    }
  }

  return {
    async receive(subscription, { cursor, deliveries, leases }) {
      const isLeased = leases.length > 0;
      const attempted = await (isLeased ? attempt : attemptPatiently)(subscription, deliveries);
      if (attempted === "as-stored") return deliveries;
      const passing = attempted instanceof Problem ? attempted : passingIn(attempted);
      const received: Delivery[] = [];
      const failed: Failed[] = [];
      for (const [n, delivery] of deliveries.entries()) {
        const item =
          attempted instanceof Problem ? { failure: attempted.message, passing: true } : (attempted[n] as Shaped);
        if (!("failure" in item)) received.push(item === delivery.event ? delivery : { ...delivery, event: item });
        else if (delivery.deadline === null) received.push(marked(delivery, item.failure));
        else if (!item.passing) failed.push({ delivery, failure: item.failure });
      }
      if (failed.length > 0) await giveUp(subscription, failed);
      if (passing !== null && isLeased) {
        // What has failed for good is gone by then, or it would be in the way again the next time.
        await ledger.putBack(cursor, leases);
        throw passing;
      }
      if (failed.length === 0) return received;
      return subscription.mode === "consumer-group" ? stillHeld(received, failed) : received;
    },
  };
}

/** The problem of what this process cannot upcast now, though another one may, or this one later. */
function passingIn(shaped: readonly Shaped[]): Problem | null {
  const found = shaped.find(isPassing);
  return found === undefined ? null : schemasUnavailable(found.failure);
}

function isPassing(item: Shaped): item is UpcastFailure {
  return "failure" in item && item.passing;
}

/** What is left of a group's handout: of the keys of failed events, what comes behind was revoked with them. */
function stillHeld(received: readonly Delivery[], failed: readonly { delivery: Delivery }[]): Delivery[] {
  const firstFailed = new Map<number, number>();
  for (const { event } of failed.map(({ delivery }) => delivery)) {
    const key = keyHash(event);
    firstFailed.set(key, Math.min(firstFailed.get(key) ?? event.position, event.position));
  }
  return received.filter(({ event }) => event.position < (firstFailed.get(keyHash(event)) ?? Number.POSITIVE_INFINITY));
}
