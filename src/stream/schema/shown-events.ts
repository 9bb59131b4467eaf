// Keeps what events were brought to, beside them, for others who want them so: within a bound of bytes.
import { type ShownAs, type StoredEvent, sizeOf } from "../event.ts";

export type ShownEvents = {
  /** Null where it has to be made (anew). */
  get: (event: StoredEvent, version: number) => ShownAs["as"] | null;
  /** `revision`: of the registry by which it was made. */
  keep: (event: StoredEvent, version: number, as: ShownAs["as"], revision: number) => void;
};

/** About what a failure takes. */
const failureBytes = 600;

export function createShownEvents(revision: () => number, maxBytes: number): ShownEvents {
  // Oldest first, from `dropped` on: what is shown can be much larger than what is stored, and is not counted with it.
  let kept: { event: StoredEvent; bytes: number }[] = [];
  let dropped = 0;
  let bytes = 0;

  return {
    get(event, version) {
      const now = revision();
      for (let shown = event.shown; shown !== null; shown = shown.next)
        if (shown.version === version && shown.revision === now) return shown.as;
      return null;
    },
    keep(event, version, as, madeBy) {
      // The event is held by it too, and the envelope takes as much again.
      const size = sizeOf(event) + ("failure" in as ? failureBytes : 2 * sizeOf(as));
      const before = event.shown?.revision === madeBy ? event.shown : null;
      event.shown = { revision: madeBy, version, as, next: before };
      kept.push({ event, bytes: size });
      bytes += size;
      while (bytes > maxBytes && dropped < kept.length) {
        const oldest = kept[dropped++] as (typeof kept)[number];
        oldest.event.shown = null;
        bytes -= oldest.bytes;
      }
      if (dropped * 2 > kept.length) {
        kept = kept.slice(dropped);
        dropped = 0;
      }
    },
  };
}
