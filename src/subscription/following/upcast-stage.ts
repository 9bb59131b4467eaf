// Brings what comes live to the versions in which groups want it, in order: what has to be waited for holds up what comes behind.
import type { Log } from "../../base/log.ts";
import { type StoredEvent, sizeOf } from "../../stream/event.ts";
import type { Target } from "../../stream/schema/target.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import type { TailBatch } from "../../stream/tail.ts";

/** What groups have in common whose events are brought to their versions together. */
export type StageKey = { where: string | null; target: Target };

export type UpcastStage = {
  /** Takes a batch, in which a predicate is satisfied by these positions; `onShown` is called with each batch, in order. */
  push: (key: StageKey, batch: TailBatch, satisfying: Set<number> | null) => void;
};

export type UpcastStageOptions = {
  upcasting: Pick<Upcasting, "showShared" | "isShownAsStored">;
  /** Whether a group of this kind wants the event: others are left as they are. */
  isWanted: (key: StageKey, event: StoredEvent) => boolean;
  onShown: (key: StageKey, batch: TailBatch, satisfying: Set<number> | null) => void;
  /** What was pushed is too much to hold, or cannot be upcast now: whoever waits for it has to catch up by itself. */
  onGivenUp: (key: StageKey) => void;
  /** Bytes of events that may wait for one kind of groups. */
  maxWaitingBytes: number;
  log: Log;
};

type Item = { batch: TailBatch; satisfying: Set<number> | null };
type Queue = { items: Item[]; bytes: number };

export function createUpcastStage(options: UpcastStageOptions): UpcastStage {
  const { upcasting, isWanted, onShown, onGivenUp, maxWaitingBytes, log } = options;
  // A kind stands here only while something of it is being waited for.
  const queues = new Map<string, Queue>();

  function show(key: StageKey, { batch, satisfying }: Item): TailBatch | Promise<TailBatch> {
    const { target } = key;
    const wanted = batch.events.filter(
      (event) =>
        !upcasting.isShownAsStored(event, target) &&
        (satisfying === null || satisfying.has(event.position)) &&
        isWanted(key, event),
    );
    if (wanted.length === 0) return batch;
    const replaced = (shown: readonly StoredEvent[]): TailBatch => {
      const byPosition = new Map(shown.map((event) => [event.position, event]));
      return { ...batch, events: batch.events.map((event) => byPosition.get(event.position) ?? event) };
    };
    const shown = upcasting.showShared(wanted, target);
    return shown instanceof Promise ? shown.then(replaced) : replaced(shown);
  }

  async function run(
    key: StageKey,
    name: string,
    queue: Queue,
    first: Promise<TailBatch>,
    firstItem: Item,
  ): Promise<void> {
    let [item, shown]: [Item, TailBatch | Promise<TailBatch>] = [firstItem, first];
    for (;;) {
      try {
        const batch = await shown;
        onShown(key, batch, item.satisfying);
      } catch (error) {
        // Catching up tries again.
        log.debug({ err: error }, "events could not be upcast for the live end");
        giveUp(key, queue);
      }
      const next = queue.items.shift();
      if (next === undefined) break;
      queue.bytes -= bytesOf(next);
      [item, shown] = [next, show(key, next)];
    }
    queues.delete(name);
  }

  function giveUp(key: StageKey, queue: Queue): void {
    queue.items = [];
    queue.bytes = 0;
    onGivenUp(key);
  }

  return {
    push(key, batch, satisfying) {
      const name = nameOf(key);
      const item: Item = { batch, satisfying };
      const queue = queues.get(name);
      if (queue !== undefined) {
        queue.items.push(item);
        queue.bytes += bytesOf(item);
        if (queue.bytes > maxWaitingBytes) giveUp(key, queue);
        return;
      }
      const shown = show(key, item);
      if (!(shown instanceof Promise)) return onShown(key, shown, satisfying);
      const begun: Queue = { items: [], bytes: 0 };
      queues.set(name, begun);
      void run(key, name, begun, shown, item);
    },
  };
}

function nameOf({ where, target }: StageKey): string {
  return `${target.key}\n${where ?? ""}`;
}

function bytesOf({ batch }: Item): number {
  let bytes = 0;
  for (const event of batch.events) bytes += sizeOf(event);
  return bytes;
}
