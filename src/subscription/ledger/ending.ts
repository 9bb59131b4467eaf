// Where one desk stops: at the first candidate of a terminal type, behind which nothing is handed out.
import type { Candidates } from "./candidates.ts";
import type { Endings, Noted } from "./endings.ts";

export type Ending = {
  /** Other types, or none, are terminal from now on. */
  configure: (terminal: readonly string[] | null) => void;
  /** Candidates up to the terminal event, if one is among them. */
  cut: (found: Candidates) => Candidates;
  /** Whether the terminal event is the last of these: there is nothing to look for behind them. */
  closes: (found: Candidates) => boolean;
  /** To be called before these are handed out; `changed` when the subscription has been configured anew since this revision. */
  note: (found: Candidates, revision: number) => Promise<Noted>;
  /** The cursor has moved among candidates that were cut. */
  moved: (found: Candidates, place: number) => void;
  /** Whether a cursor that stands here has handed out its terminal event. */
  isAt: (place: number) => Promise<boolean>;
};

export function createEnding(cursor: number, endings: Pick<Endings, "note" | "isNoted">): Ending {
  let types: ReadonlySet<string> | null = null;
  /** The terminal event that was found last. */
  let end: number | null = null;
  let noted: number | null = null;
  let known: { place: number; isEnd: boolean } | null = null;

  // A terminal event that was removed from the log since it was found closes nothing.
  const closes = (found: Candidates) => end !== null && found.events.at(-1)?.position === end;

  return {
    configure(terminal) {
      types = terminal === null ? null : new Set(terminal);
      end = null;
      noted = null;
      known = null;
    },
    cut(found) {
      const at = types === null ? -1 : found.events.findIndex((event) => types?.has(event.type));
      if (at === -1) return found;
      const events = found.events.slice(0, at + 1);
      end = events[at]?.position as number;
      return { after: found.after, upTo: end, events };
    },
    closes,
    async note(found, revision) {
      if (end === null || noted === end || !closes(found)) return "ok";
      const outcome = await endings.note(cursor, revision, end);
      if (outcome === "ok") noted = end;
      return outcome;
    },
    moved(found, place) {
      if (place > found.after && place <= found.upTo) known = { place, isEnd: place === end && closes(found) };
    },
    async isAt(place) {
      if (types === null) return false;
      if (known?.place !== place) known = { place, isEnd: await endings.isNoted(cursor, place) };
      return known.isEnd;
    },
  };
}
