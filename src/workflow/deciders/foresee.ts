// Tells the state after events that are not stored yet, so that the next command need not wait until they are.
import { storedEvent } from "../../stream/append-outcome.ts";
import type { NewEvent } from "../../stream/event.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import { foreseenContextOf } from "../events/recorded-event.ts";
import { messageOf } from "../handlers/message-of.ts";
import { evolve, type Fold, handledData, type Point } from "./fold.ts";

/**
 * The point behind the events, if they are stored right behind `from`. Null where only the log can tell: one of them has an id
 * that the stream may hold already, or a handler asks for what an event is given as it is stored. Throws an error that tells what
 * a handler did wrong: an event that it cannot fold would leave the stream without a state.
 */
export function foresee(
  fold: Fold,
  from: Point,
  stream: string,
  events: readonly NewEvent[],
  upcasting: Pick<Upcasting, "attempt">,
): Point | null {
  let { state, offset, bytes } = from;
  const isUnknown = events.some((event) => event.known);
  for (const event of events) {
    offset++;
    if (!fold.evolves.has(event.type)) continue;
    const shown = upcasting.attempt([storedEvent(event, stream, false, offset, -1, "")], fold.target);
    if (shown instanceof Promise) {
      shown.catch(() => {});
      return null;
    }
    const [as] = shown;
    if (as === undefined || "failure" in as) throw new Error(`${event.type} cannot be upcast: ${as?.failure}`);
    let asked = false;
    const context = foreseenContextOf(as, () => {
      asked = true;
    });
    try {
      state = evolve(fold, state, handledData(fold, as), context);
    } catch (error) {
      if (!asked) throw new Error(`${event.type}: ${messageOf(error)}`);
    }
    // The states behind it are none; but what its handlers make of the events is worth knowing.
    if (asked) return null;
    bytes += event.data?.length ?? 0;
  }
  const eventId = events.at(-1)?.id ?? from.eventId;
  return isUnknown ? null : { ...from, state, offset, eventId, isStored: false, settled: null, bytes };
}
