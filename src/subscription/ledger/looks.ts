// When a desk looks for what is due for another try or overdue, and how far back that may lie.
import type { ClaimOutcome } from "./delivery-claim.ts";

/** Time between two looks, in milliseconds: while there is other work, and while there is none. */
export const busyLookMs = 250;
export const idleLookMs = 5_000;
const beginning = "-infinity";
/** What is entered from now on is due later than now, but for a clock that steps back so far, in milliseconds. */
const clockSlackMs = 60_000;

/** Times are in milliseconds of `performance.now`. */
export function createLooks() {
  let at = 0;
  /** How often one was asked for: what was asked during a call is not answered by it. */
  let wanted = 0;
  let firstSteps = new Map<string, number>();
  let firstDue = beginning;
  let dueLeft = false;

  function fromTheBeginning(): void {
    at = 0;
    firstDue = beginning;
  }

  return {
    at: () => at,
    wanted: () => wanted,
    /** Nothing that is due was due before, and nothing that a consumer holds was handed out before: what is older is dead rows. */
    firstDue: () => firstDue,
    firstStep: (consumer: string) => firstSteps.get(consumer) ?? 0,
    /** Something is due for another try, and nobody had credit for it. */
    isDueLeft: () => dueLeft,
    soon(): void {
      at = 0;
    },
    notAfter(time: number): void {
      at = Math.min(at, time);
    },
    postpone(): void {
      at = performance.now() + idleLookMs;
    },
    /** What is due may have changed. */
    want(): void {
      wanted++;
      fromTheBeginning();
    },
    fromTheBeginning,
    /** Notes what a look has found; returns true when more is overdue than it could take back. */
    found(consumers: readonly string[], { looked, now, portions }: Extract<ClaimOutcome, { status: "ok" }>): boolean {
      if (looked === null) return false;
      // Those who ask no more are forgotten: a first step that is too low costs time only.
      firstSteps = new Map(consumers.map((consumer, i) => [consumer, looked.firstSteps[i] as number]));
      if (looked.firstDue === beginning) {
        at = 0;
        return true;
      }
      const slack = new Date(Date.parse(now) - clockSlackMs).toISOString();
      const next = looked.firstDue === "infinity" ? null : looked.firstDue;
      firstDue = next === null || next > slack ? slack : next;
      dueLeft = next !== null && next <= now;
      const untilNextMs = next === null || dueLeft ? idleLookMs : Date.parse(next) - Date.parse(now) + 1;
      const soonestMs = portions.length > 0 ? busyLookMs : 1;
      at = performance.now() + Math.max(Math.min(untilNextMs, idleLookMs), soonestMs);
      return false;
    },
  };
}
