// All checks over what consumers saw, by the number of the invariant.
import type { Alarm, Entry } from "../history.ts";
import type { LedgerSnapshot } from "../ledger-snapshot.ts";
import { deadLettersAreWhole } from "./dead-letters.ts";
import { creditIsKept, firstDeliveriesAscend, handedOutAsStored, pausesHold } from "./handing-out.ts";
import { oneHolderAtATime } from "./holders.ts";
import { keysStayInOrder } from "./keys.ts";
import { ledgerContext } from "./ledger-context.ts";
import { marksHold } from "./marks.ts";
import { receiptsHold } from "./receipts.ts";
import { acknowledgedAreStored, everythingIsSettled, floorsHold } from "./settled.ts";

/** The violations, each with the invariant that it breaks; empty when all hold. */
export function checkLedger(history: readonly Entry[], ledger: LedgerSnapshot): string[] {
  const context = ledgerContext(history, ledger);
  const numbered = (invariant: string, found: string[]) => found.map((what) => `[${invariant}] ${what}`);
  return [
    ...numbered(
      "alarm",
      history.filter((entry): entry is Alarm => entry.kind === "alarm").map(({ at, what }) => `${what} (at ${at} ms)`),
    ),
    ...numbered("1", acknowledgedAreStored(context)),
    ...numbered("6", everythingIsSettled(context)),
    ...numbered("6", floorsHold(context)),
    ...numbered("6", handedOutAsStored(context)),
    ...numbered("6", firstDeliveriesAscend(context)),
    ...numbered("6", pausesHold(context)),
    ...numbered("7", oneHolderAtATime(context)),
    ...numbered("7", creditIsKept(context)),
    ...numbered("8", keysStayInOrder(context)),
    ...numbered("receipts", receiptsHold(context)),
    ...numbered("exactly-once", marksHold(context)),
    ...numbered("9", deadLettersAreWhole(context)),
  ];
}
