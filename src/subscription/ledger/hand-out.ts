// Gives each claimant the events of its portion, as far as they are there and fit into an answer.
import type { StoredEvent } from "../../stream/event.ts";
import type { Subscription } from "../registry/subscription.ts";
import type { CandidateReader, ReadAt } from "./candidates.ts";
import type { ClaimQueue, Waiting } from "./claim-queue.ts";
import type { Delivery, Handout, Rest } from "./delivery.ts";
import type { Portion } from "./delivery-claim.ts";
import { keyHash } from "./key-hash.ts";
import type { createReadAhead } from "./read-ahead.ts";
import { settledToken, type Tokens, tokenOf } from "./token.ts";

export type HandOutOptions = {
  cursor: number;
  queue: Pick<ClaimQueue, "has" | "answer">;
  ahead: Pick<ReturnType<typeof createReadAhead>, "has" | "peek" | "take">;
  candidates: Pick<CandidateReader, "readAt">;
  tokens: Tokens;
  /** Settles what is gone from the log. */
  settle: (tokens: string[]) => void;
  /** Puts back what nobody is there to take. */
  putBack: (leases: Handout["leases"]) => Promise<void>;
  /** Puts back the rest of what a step handed out. */
  putBackRest: (step: number, rest: readonly Rest[]) => Promise<void>;
};

export type HandOut = (
  subscription: Subscription,
  asking: readonly Waiting[],
  step: number,
  portions: readonly Portion[],
) => Promise<void>;

/** A portion that is given away. */
type Given = Omit<Portion, "deadline"> & { deadline: null };

type Sorted = { deliveries: Delivery[]; gone: string[]; rest: number[] };

const nothingRead: ReadAt = { events: new Map(), unread: new Map() };

export function createHandOut(options: HandOutOptions): HandOut {
  const { cursor, queue, ahead, candidates, tokens } = options;

  function sort(
    { positions, attempts, deadline }: Portion | Given,
    token: (position: number) => string,
    read: ReadAt,
    inOrder: boolean,
  ): Sorted {
    const sorted: Sorted = { deliveries: [], gone: [], rest: [] };
    for (const [i, position] of positions.entries()) {
      // Too much for one answer. In a group nothing may come before it.
      if (read.unread.has(position) || (inOrder && sorted.rest.length > 0)) {
        sorted.rest.push(position);
        continue;
      }
      const event = ahead.take(position) ?? read.events.get(position);
      // Trimmed or deleted since: that settles it.
      if (event === undefined) sorted.gone.push(token(position));
      else sorted.deliveries.push({ event, token: token(position), attempt: attempts[i] as number, deadline });
    }
    return sorted;
  }

  /** The rest of a portion of a group, with the keys by which the ledger enters it. */
  function keyed(part: number, leased: boolean, rest: readonly number[], read: ReadAt): Rest {
    const positions: number[] = [];
    const keys: number[] = [];
    for (const position of rest) {
      const event: StoredEvent | undefined = ahead.peek(position) ?? read.events.get(position);
      const partitionKey = read.unread.get(position) ?? event?.partitionKey ?? null;
      // What was given away and is gone is settled; of a lease, the ledger knows the keys.
      if (!leased && event === undefined && !read.unread.has(position)) continue;
      positions.push(position);
      keys.push(keyHash({ partitionKey, position }));
    }
    return { part, leased, positions, keys };
  }

  return async (subscription, asking, step, portions) => {
    if (portions.length === 0) return;
    const isGroup = subscription.mode === "consumer-group";
    const read = await readMissing(step, portions, isGroup);
    const unsent: Handout["leases"][number][] = [];
    const rests: Rest[] = [];
    for (const portion of portions) {
      const { part } = portion;
      const claim = asking[portion.claimant] as Waiting;
      const { leased } = claim;
      const prefix = leased ? tokens.prefix({ subscription: subscription.id, cursor, step, part }) : null;
      const token = (position: number) => (prefix === null ? settledToken : tokenOf(prefix, position));
      const { deliveries, gone, rest } = sort(leased ? portion : { ...portion, deadline: null }, token, read, isGroup);
      if (gone.length > 0 && leased) options.settle(gone);
      const leases = leased ? [{ step, part }] : [];
      const hasGivenUp = !queue.has(claim);
      if (hasGivenUp) unsent.push(...leases);
      else if (deliveries.length > 0) queue.answer(claim, { deliveries, leases });
      if (rest.length > 0 && !(hasGivenUp && leased))
        rests.push(isGroup ? keyed(part, leased, rest, read) : { part, leased, positions: rest, keys: null });
    }
    const rest = rests.length === 0 ? null : options.putBackRest(step, rests);
    const done = unsent.length === 0 ? null : options.putBack(unsent);
    // Until then the ledger takes them to be with their member, and would hand out what comes after them.
    if (isGroup) await done;
    await rest;
  };

  async function readMissing(step: number, portions: readonly Portion[], isGroup: boolean): Promise<ReadAt> {
    const missing = portions.flatMap((portion) => portion.positions.filter((position) => !ahead.has(position)));
    if (missing.length === 0) return nothingRead;
    try {
      return await candidates.readAt(missing);
    } catch (error) {
      const done = options.putBack(portions.map(({ part }) => ({ step, part })));
      if (isGroup) await done;
      throw error;
    }
  }
}
