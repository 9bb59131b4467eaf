// All checks over the history of a run, by the number of the invariant.
import type { Alarm, Entry } from "../history.ts";
import type { LogSnapshot } from "../log-snapshot.ts";
import { acknowledgedArePresent, nothingTwiceOrTorn, refusedAreAbsent, repetitionsAgree } from "./appends.ts";
import { boundsWereKept } from "./bounded.ts";
import { connectionsBeginRight, followersWereNotLost } from "./connections.ts";
import { deletionsTakeAll, deletionsWereAsked, purgedWereDeleted } from "./deletions.ts";
import { followersSawTheLog } from "./followers.ts";
import { livesOf } from "./lives.ts";
import { eventsAreFoundByTheirIds } from "./lookups.ts";
import { replaysEqualLog, rowsAreGapless, timesNeverRunBack } from "./order.ts";
import { walksArePrefixes } from "./reads.ts";
import { removalsOf } from "./removals.ts";
import { logAgreesWithRealTime, refusalsToldTheTruth, versionsWereMet } from "./versions.ts";

/** The violations, each with the invariant that it breaks; empty when all hold. The run's part of the log begins at `base`. */
export function checkHistory(history: readonly Entry[], log: LogSnapshot, base: number): string[] {
  // Deleted events count as well: they were stored, and in their place.
  const { stored } = log;
  const lifeOf = livesOf(log.deletions);
  const removalOf = removalsOf(history, log);
  const numbered = (invariant: string, found: string[]) => found.map((what) => `[${invariant}] ${what}`);
  return [
    ...numbered(
      "alarm",
      history.filter((entry): entry is Alarm => entry.kind === "alarm").map(({ at, what }) => `${what} (at ${at} ms)`),
    ),
    ...numbered("1", acknowledgedArePresent(history, stored)),
    ...numbered("1", refusedAreAbsent(history, stored)),
    ...numbered("1", nothingTwiceOrTorn(history, stored, lifeOf)),
    ...numbered("1", repetitionsAgree(history, lifeOf)),
    ...numbered("2", rowsAreGapless(log.rows, base)),
    ...numbered("2", replaysEqualLog(log)),
    ...numbered("2", timesNeverRunBack(stored)),
    ...numbered("2", deletionsTakeAll(log)),
    ...numbered("2", deletionsWereAsked(history, log)),
    ...numbered("2", purgedWereDeleted(log)),
    ...numbered("3", walksArePrefixes(history, stored, removalOf)),
    ...numbered("3", eventsAreFoundByTheirIds(history)),
    ...numbered("4", logAgreesWithRealTime(history, stored, lifeOf)),
    ...numbered("4", versionsWereMet(history, stored, lifeOf)),
    ...numbered("4", refusalsToldTheTruth(history, stored, lifeOf)),
    ...numbered("5", followersSawTheLog(history, stored, removalOf)),
    ...numbered("5", connectionsBeginRight(history, stored, removalOf)),
    ...numbered("5", followersWereNotLost(history)),
    ...numbered("5", boundsWereKept(history)),
  ];
}
