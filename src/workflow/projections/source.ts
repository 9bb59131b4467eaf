// What a projection reads: its events behind a position, as the versions that its code is written for, the next ones while it works.
import type { StoredEvent, UpcastFailure } from "../../stream/event.ts";
import { targetOf } from "../../stream/schema/target.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import type { Selection } from "../../stream/selection.ts";
import type { Tail } from "../../stream/tail.ts";
import type { CandidateReader } from "../../subscription/ledger/candidates.ts";
import type { Incoming } from "./applier.ts";

/** Everything for the projection in (after, upTo], in order. */
export type Piece = { after: number; upTo: number; events: readonly Incoming[] };

export type Source = {
  /** At most so many events behind a position. Rejects with what reading and upcasting meet. */
  read: (after: number, limit: number, signal: AbortSignal) => Promise<Piece>;
  /** Everything up to here has been in the tail. */
  head: () => number;
};

export type SourceOptions = {
  reader: Pick<CandidateReader, "read">;
  tail: Pick<Tail, "head">;
  upcasting: Pick<Upcasting, "attempt">;
};

/** `known`: the newest version of each type that the code of this process is written for. */
export function createSource(
  { streams, types, known }: Pick<Selection, "streams" | "types"> & { known: ReadonlyMap<string, number> },
  { reader, tail, upcasting }: SourceOptions,
): Source {
  const target = targetOf("latest", known);
  const selection: Selection = { streams, types, correlation: null, key: null, where: null };
  let ahead: { after: number; limit: number; piece: Promise<Piece> } | null = null;

  async function fetch(after: number, limit: number, signal: AbortSignal): Promise<Piece> {
    const { upTo, events } = await reader.read(selection, after, limit, after, signal);
    const items = await upcasting.attempt(events, target);
    return {
      after,
      upTo,
      events: events.map((event, n) => ({
        position: event.position,
        item: newerThan(known, event) ?? (items[n] as Incoming["item"]),
      })),
    };
  }

  return {
    async read(after, limit, signal) {
      const known = ahead?.after === after && ahead.limit === limit ? ahead.piece : null;
      ahead = null;
      const piece = await (known ?? fetch(after, limit, signal));
      // Far from the head, the database reads the next events while these are handled.
      if (piece.events.length > 0 && piece.upTo < tail.head()) {
        ahead = { after: piece.upTo, limit, piece: fetch(piece.upTo, limit, signal) };
        ahead.piece.catch(() => {});
      }
      return piece;
    },
    head: tail.head,
  };
}

/** A process of another version of the module has to handle it; null where this one can. */
function newerThan(known: ReadonlyMap<string, number>, { type, schemaVersion }: StoredEvent): UpcastFailure | null {
  const newest = known.get(type);
  if (newest === undefined || schemaVersion <= newest) return null;
  return { failure: `it is version ${schemaVersion} of ${type}, of which this process knows ${newest}`, passing: true };
}
