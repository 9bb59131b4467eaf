// What is written to the event stream of a consumer, and when: as it comes, once in an interval, or only as it connects.
import { pause } from "../base/pause.ts";
import type { Feed } from "./feed.ts";
import type { Delivery } from "./ledger/delivery.ts";

export type Push = { deliveries: Delivery[] } | { caughtUpAt: number };

/** How long a consumer that gets nothing new may wait before it looks whether that is still so, in milliseconds. */
const idleMs = 1_000;

/**
 * First everything up to the head of the moment in which the feed was opened, then what its subscription's `push` says, which
 * may change meanwhile. Ends when the subscription is completed; throws what the feed throws, and the signal's reason.
 */
export async function* pushes(feed: Feed, signal: AbortSignal): AsyncGenerator<Push, void, void> {
  let stir = feed.stir();
  for (;;) {
    const deliveries = await feed.nextUpTo(feed.head);
    if (deliveries === null) return;
    if (deliveries.length === 0) break;
    yield { deliveries };
  }
  yield { caughtUpAt: feed.head };
  for (;;) {
    signal.throwIfAborted();
    const { push, batchIntervalMs } = await feed.subscription();
    switch (push) {
      case "immediate": {
        const deliveries = await feed.next();
        if (deliveries === null) return;
        yield { deliveries };
        break;
      }
      case "batched": {
        await stir;
        await pause(batchIntervalMs, signal);
        // What comes from here on may miss this batch.
        stir = feed.stir();
        const upTo = feed.headNow();
        for (let last = -1; last < upTo; ) {
          const deliveries = await feed.more(0);
          if (deliveries === null) return;
          if (deliveries.length === 0) break;
          yield { deliveries };
          const reached = deliveries.at(-1)?.event.position as number;
          // What is given back again and again must not keep the batch open.
          if (reached <= last) break;
          last = reached;
        }
        break;
      }
      case "on-reconnect": {
        // Nothing new, but what comes back.
        const deliveries = await feed.more(idleMs, feed.head);
        if (deliveries === null) return;
        if (deliveries.length > 0) yield { deliveries };
        break;
      }
      default:
        return push satisfies never;
    }
  }
}
