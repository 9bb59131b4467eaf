// Invariant 3, for places: an event that was acknowledged is found by its id, whatever the clocks of the services say.
import type { Entry } from "../history.ts";

export function eventsAreFoundByTheirIds(history: readonly Entry[]): string[] {
  const violations: string[] = [];
  for (const entry of history) {
    if (entry.kind !== "looked-up" || entry.status === null || entry.status >= 500) continue;
    const { at, stream, id, offset, status, first } = entry;
    const found = first === null ? "nothing" : `${first.stream} ${first.offset}`;
    if (status !== 200 || first?.offset !== offset || first.stream !== stream)
      violations.push(
        `a read of ${stream} from event ${id} (offset ${offset}) was answered ${status} with ${found}, at ${at} ms`,
      );
  }
  return violations;
}
