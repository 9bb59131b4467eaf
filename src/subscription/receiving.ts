// Brings what is handed out to the versions that its subscription wants; what cannot be upcast becomes a dead letter.
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

export type ReceivingOptions = {
  upcasting: Pick<Upcasting, "attempt" | "show">;
  ledger: Pick<Ledger, "giveBack" | "putBack">;
  log: Log;
};

export function createReceiving({ upcasting, ledger, log }: ReceivingOptions): Receiving {
  async function giveUp(
    subscription: Subscription,
    failed: readonly { delivery: Delivery; failure: string }[],
  ): Promise<void> {
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

  return {
    async receive(subscription, { cursor, deliveries, leases }) {
      const events = deliveries.map(({ event }) => event);
      try {
        const shown = await upcasting.attempt(events, subscription.receiveAs);
        if (shown === events) return deliveries;
        const passing = shown.find((item) => isFailure(item) && item.passing);
        if (passing !== undefined) throw schemasUnavailable((passing as UpcastFailure).failure);
        const received: Delivery[] = [];
        const failed: { delivery: Delivery; failure: string }[] = [];
        for (const [n, item] of shown.entries()) {
          const delivery = deliveries[n] as Delivery;
          if (!isFailure(item)) received.push(item === delivery.event ? delivery : { ...delivery, event: item });
          else if (delivery.deadline !== null) failed.push({ delivery, failure: item.failure });
          else {
            // It has left the ledger: all that can be done is to say so.
            const [marked = delivery.event] = await upcasting.show([delivery.event], subscription.receiveAs);
            received.push({ ...delivery, event: marked });
          }
        }
        if (failed.length === 0) return received;
        await giveUp(subscription, failed);
        return subscription.mode === "consumer-group" ? stillHeld(received, failed) : received;
      } catch (error) {
        if (error instanceof Problem)
          log.warn({ err: error, subscription: subscription.name }, "nothing can be upcast now");
        await ledger.putBack(cursor, leases);
        throw error;
      }
    },
  };
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

function isFailure(item: StoredEvent | UpcastFailure): item is UpcastFailure {
  return "failure" in item;
}
