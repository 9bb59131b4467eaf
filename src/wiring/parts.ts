// All parts of the service, as those see them that are told of everything: the routes and the metrics.
import type { Forgetting } from "../stream/forgetting.ts";
import type { Locks } from "../subscription/exactly-once/locks.ts";
import type { Tally } from "../subscription/ledger/tally.ts";
import type { Subscriptions } from "../subscription/subscriptions.ts";
import type { BridgeParts } from "./bridge.ts";
import type { DeliveryParts } from "./delivery.ts";
import type { LogParts } from "./log.ts";
import type { CommandParts, ReactionParts } from "./processes.ts";

export type Parts = LogParts &
  CommandParts &
  ReactionParts &
  DeliveryParts &
  BridgeParts & {
    /** What the database has told of the ledger. */
    tally: Tally;
    forgetting: Forgetting;
    subscriptions: Subscriptions;
    locks: Locks;
  };
