// All checks over the history of a run, by the number of the invariant.
import type { Alarm, Entry } from "../history.ts";
import type { LogSnapshot } from "../log-snapshot.ts";
import { acknowledgedArePresent, nothingTwiceOrTorn, refusedAreAbsent, repetitionsAgree } from "./appends.ts";
import { connectionsBeginRight, followersSawTheLog, followersWereNotLost } from "./followers.ts";
import { replaysEqualRows, rowsAreGapless, timesNeverRunBack } from "./order.ts";
import { walksArePrefixes } from "./reads.ts";
import { logAgreesWithRealTime, refusalsToldTheTruth, versionsWereMet } from "./versions.ts";

/** The violations, each with the invariant that it breaks; empty when all hold. */
export function checkHistory(history: readonly Entry[], log: LogSnapshot): string[] {
  const { events } = log;
  const numbered = (invariant: string, found: string[]) => found.map((what) => `[${invariant}] ${what}`);
  return [
    ...numbered(
      "alarm",
      history.filter((entry): entry is Alarm => entry.kind === "alarm").map(({ at, what }) => `${what} (at ${at} ms)`),
    ),
    ...numbered("1", acknowledgedArePresent(history, events)),
    ...numbered("1", refusedAreAbsent(history, events)),
    ...numbered("1", nothingTwiceOrTorn(history, events)),
    ...numbered("1", repetitionsAgree(history)),
    ...numbered("2", rowsAreGapless(log.rows)),
    ...numbered("2", replaysEqualRows(log)),
    ...numbered("2", timesNeverRunBack(events)),
    ...numbered("3", walksArePrefixes(history, events)),
    ...numbered("4", logAgreesWithRealTime(history, events)),
    ...numbered("4", versionsWereMet(history, events)),
    ...numbered("4", refusalsToldTheTruth(history, events)),
    ...numbered("5", followersSawTheLog(history, events)),
    ...numbered("5", connectionsBeginRight(history, events)),
    ...numbered("5", followersWereNotLost(history)),
  ];
}
