// Evaluates payload predicates for the live end: each distinct path once for all that has come since its last evaluation.
import type { Log } from "../../base/log.ts";
import { sizeOf } from "../../stream/event.ts";
import type { Evaluated } from "../../stream/path-filter.ts";
import type { TailBatch } from "../../stream/tail.ts";

export type PredicateEvaluator = {
  /** Takes a batch for a path; `onEvaluated` is called with each batch, in order. */
  push: (where: string, batch: TailBatch) => void;
};

export type PredicateEvaluatorOptions = {
  /** Evaluates the path over the positions in (after, upTo]. */
  evaluate: (where: string, after: number, upTo: number) => Promise<Evaluated>;
  onEvaluated: (where: string, batch: TailBatch, satisfying: Set<number>) => void;
  /** What was pushed cannot be evaluated, or is too much to hold: whoever waits for it has to catch up by itself. */
  onGivenUp: (where: string) => void;
  /** Bytes of events that may wait for one path. */
  maxWaitingBytes: number;
  log: Log;
};

type Queue = { batches: TailBatch[]; bytes: number };

export function createPredicateEvaluator(options: PredicateEvaluatorOptions): PredicateEvaluator {
  const { evaluate, onEvaluated, onGivenUp, maxWaitingBytes, log } = options;
  // A path stands here only while it is being evaluated.
  const queues = new Map<string, Queue>();

  async function run(where: string, queue: Queue): Promise<void> {
    while (queue.batches.length > 0) {
      const { batches } = queue;
      queue.batches = [];
      queue.bytes = 0;
      try {
        const { after } = batches[0] as TailBatch;
        const { upTo } = batches.at(-1) as TailBatch;
        const { present, satisfying } = await evaluate(where, after, upTo);
        // What a deletion has removed in between cannot be judged any more: readers are told of it as they catch up.
        if (batches.some((batch) => batch.events.some((event) => !present.has(event.position)))) giveUp(where, queue);
        else for (const batch of batches) onEvaluated(where, batch, satisfying);
      } catch (error) {
        // Catching up tries again, or tells the reader that its path cannot be evaluated.
        log.debug({ err: error }, "a predicate could not be evaluated for the live end");
        giveUp(where, queue);
      }
    }
    queues.delete(where);
  }

  function giveUp(where: string, queue: Queue): void {
    queue.batches = [];
    queue.bytes = 0;
    onGivenUp(where);
  }

  return {
    push(where, batch) {
      const running = queues.get(where);
      const queue = running ?? { batches: [], bytes: 0 };
      queue.batches.push(batch);
      for (const event of batch.events) queue.bytes += sizeOf(event);
      if (running === undefined) {
        queues.set(where, queue);
        void run(where, queue);
      } else if (queue.bytes > maxWaitingBytes) giveUp(where, queue);
    },
  };
}
