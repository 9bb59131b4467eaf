// What a subscription promises: it may weaken what its streams promise, never strengthen it.
import { invalidConfiguration } from "../../base/errors.ts";
import type { StreamConfiguration } from "../../stream/stream-configuration.ts";
import type { DeliverySemantics } from "./subscription.ts";

/** From weak to strong. */
const semantics: readonly DeliverySemantics[] = ["at-most-once", "at-least-once", "exactly-once"];
const ofNewStreams: DeliverySemantics = "at-least-once";

type Stream = { name: string; configuration: Pick<StreamConfiguration, "delivery"> };

/**
 * The delivery of a subscription: what is given, or at-least-once where all of its streams are no weaker. `heads` are those
 * of its streams that there are; a stream that may come yet, and any stream of a correlation, is as a new one. Throws
 * `invalid-configuration`.
 */
export function boundDelivery(
  given: DeliverySemantics | null,
  streams: readonly string[] | null,
  heads: readonly Stream[],
): DeliverySemantics {
  const known = new Map(heads.map((head) => [head.name, head.configuration.delivery]));
  const bounds = (streams ?? []).map((name) => ({ name, delivery: known.get(name) ?? ofNewStreams }));
  if (streams === null) bounds.push({ name: "all persistent streams", delivery: ofNewStreams });
  const weakest = bounds.reduce((a, b) => (semantics.indexOf(b.delivery) < semantics.indexOf(a.delivery) ? b : a));
  const wanted = given ?? ofNewStreams;
  if (semantics.indexOf(wanted) <= semantics.indexOf(weakest.delivery)) return wanted;
  if (given === null) return weakest.delivery;
  const what = streams === null ? "what is common to all persistent streams" : `that of stream ${weakest.name}`;
  throw invalidConfiguration([
    { path: "/delivery", message: `${given} is stronger than ${what}, which is ${weakest.delivery}` },
  ]);
}
