// All checks over a run of processes, by the number of the promise or by what they are about.
import type { Alarm, Entry } from "../history.ts";
import type { ProcessSnapshot } from "../process-snapshot.ts";
import { decisionsKeepTheRules, refusalsToldTheBalance } from "./accounts.ts";
import { answersAgree, answersTellTheLog, commandsAreWhole, nobodyElseWrote } from "./commands.ts";
import { modelsAreDone, modelsEqualTheLog, modelsNeverGoBack } from "./models.ts";
import { outboxBecameEvents, outboxIsEmpty, outboxKeepsOrder } from "./outbox.ts";
import { somethingWasProved } from "./proved.ts";
import { commandsKeepRealTime } from "./real-time.ts";
import { effectsHappenOnce, heldIsReturned } from "./saga-effects.ts";
import { plansCameTrue, waitsEndRight } from "./saga-plans.ts";
import { startsAreOneSaga } from "./saga-starts.ts";
import { storiesAreRight } from "./saga-stories.ts";

/** The violations, each with what it breaks; empty when all holds and the run has proved something. */
export function checkProcesses(history: readonly Entry[], snapshot: ProcessSnapshot): string[] {
  const numbered = (about: string, found: string[]) => found.map((what) => `[${about}] ${what}`);
  return [
    ...numbered(
      "alarm",
      history.filter((entry): entry is Alarm => entry.kind === "alarm").map(({ at, what }) => `${what} (at ${at} ms)`),
    ),
    ...numbered("2", snapshot.defects),
    ...numbered("commands", commandsAreWhole(history, snapshot)),
    ...numbered("commands", answersTellTheLog(history, snapshot)),
    ...numbered("commands", answersAgree(history)),
    ...numbered("commands", nobodyElseWrote(history, snapshot)),
    ...numbered("commands", commandsKeepRealTime(history, snapshot)),
    ...numbered("deciders", decisionsKeepTheRules(snapshot)),
    ...numbered("deciders", refusalsToldTheBalance(history, snapshot)),
    ...numbered("projections", modelsEqualTheLog(history, snapshot)),
    ...numbered("projections", modelsNeverGoBack(history)),
    ...numbered("projections", modelsAreDone(snapshot)),
    ...numbered("sagas", startsAreOneSaga(history, snapshot)),
    ...numbered("sagas", storiesAreRight(snapshot)),
    ...numbered("sagas", plansCameTrue(history, snapshot)),
    ...numbered("sagas", waitsEndRight(snapshot)),
    ...numbered("sagas", effectsHappenOnce(snapshot)),
    ...numbered("sagas", heldIsReturned(snapshot)),
    ...numbered("outbox", outboxBecameEvents(history, snapshot)),
    ...numbered("outbox", outboxKeepsOrder(history, snapshot)),
    ...numbered("outbox", outboxIsEmpty(history, snapshot)),
    ...numbered("nothing was proved", somethingWasProved(history, snapshot)),
  ];
}
