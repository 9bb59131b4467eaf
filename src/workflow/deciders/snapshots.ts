// Saves the states of deciders every so many events, in the background: a command never waits for it.
import type { Log } from "../../base/log.ts";
import { inWords } from "../../base/violations.ts";
import type { Pool } from "../../storage/pool.ts";
import { saveState } from "../../stream/snapshot.ts";
import { notJson } from "../handlers/json-value.ts";
import type { Point } from "./fold.ts";
import type { Line } from "./lines.ts";

export type Snapshots = {
  /** Saves what is known to be stored, if it is time to. */
  consider: (line: Line) => void;
  counters: () => { snapshots: number; failedSnapshots: number };
  /** Waits for those under way. */
  stop: () => Promise<void>;
};

export function createSnapshots({ pool, log }: { pool: Pool; log: Log }): Snapshots {
  const saving = new Set<Promise<void>>();
  const counters = { snapshots: 0, failedSnapshots: 0 };
  let stopped = false;

  async function save({ fold, stream }: Line, point: Point): Promise<void> {
    const { state, offset, position } = point;
    const odd = notJson(state);
    const violations = odd === null ? fold.checkState(state) : [odd];
    if (violations !== null) throw new Error(`the state is not what its schema says: ${inWords(violations)}`);
    const text = JSON.stringify(state);
    const { outcome } = await saveState(pool, {
      stream,
      owner: fold.owner,
      offset,
      position,
      state: text,
      tag: fold.tag,
    });
    if (outcome === "created" || outcome === "replaced") counters.snapshots++;
  }

  function consider(line: Line): void {
    const { base, decider } = line;
    if (base === null || line.isSaving || stopped || decider.snapshotEvery === 0) return;
    if (base.offset - (line.snapshotOffset ?? base.bornOffset - 1) < decider.snapshotEvery) return;
    line.isSaving = true;
    // Also where it fails: the next one comes as many events later.
    line.snapshotOffset = base.offset;
    const { stream } = line;
    const saved = save(line, base)
      .catch((error: unknown) => {
        counters.failedSnapshots++;
        log.warn({ err: error, decider: decider.name, stream, offset: base.offset }, "snapshot not saved");
      })
      .then(() => {
        line.isSaving = false;
        saving.delete(saved);
        consider(line);
      });
    saving.add(saved);
  }

  return {
    consider,
    counters: () => counters,
    async stop() {
      stopped = true;
      await Promise.all(saving);
    },
  };
}
