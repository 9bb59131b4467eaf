// Consumers of exactly-once subscriptions: they mark what they have processed before they acknowledge it, mostly.
import type { Delivered, MarkingAnswered, SubscriptionDeclared } from "./consumer-history.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { createRequests, problemOf } from "./requests.ts";
import { pathOf } from "./subscribed.ts";

export type Marking = {
  know: (deliveries: readonly Delivered[]) => void;
  /** Marks some of these, if the subscription asks for it. */
  mark: (tokens: readonly string[], consumer?: string) => Promise<void>;
  /** Whether the consumer dies between the mark and the acknowledgement. */
  forgets: () => boolean;
};

export type MarkingOptions = {
  history: History;
  random: Random;
  declared: SubscriptionDeclared;
  consumer: string;
  ports: readonly number[];
  nextOp: () => number;
};

const silenceMs = 8_000;
const atOnce = 6;
const refusals = ["stale-token", "already-processed"];

export function createMarking(options: MarkingOptions): Marking {
  const { history, random, declared, nextOp } = options;
  const request = createRequests({ ...options, silenceMs });
  const known = new Map<string, Delivered>();
  const isAsked = declared.delivery === "exactly-once";

  async function mark({ token, id, position }: Delivered, consumer: string): Promise<MarkingAnswered["status"]> {
    const op = nextOp();
    history.add({
      ...{ kind: "marking", op, at: history.now(), subscription: declared.subscription, consumer },
      ...{ position, token },
    });
    const path = `${pathOf(declared)}/consumers/${consumer}/processed/${id}`;
    let status: number | null = null;
    let reason: string | null;
    try {
      const answer = await request("PUT", path, { token });
      status = answer.status;
      reason = status < 300 ? null : problemOf(answer.body);
    } catch (error) {
      reason = (error as Error).message;
    }
    history.add({ kind: "marking-answered", op, at: history.now(), status, reason });
    if (status !== null && status >= 400 && status < 500 && !refusals.includes(reason ?? ""))
      history.alarm(`${consumer} marked an event of ${declared.subscription} and was answered ${status} ${reason}`);
    return status;
  }

  return {
    know(deliveries) {
      if (isAsked) for (const delivered of deliveries) known.set(delivered.token, delivered);
    },
    async mark(tokens, consumer = options.consumer) {
      if (!isAsked || random.chance(0.1)) return;
      const from = random.between(0, Math.max(0, tokens.length - atOnce));
      const some = tokens.slice(from, from + atOnce).flatMap((token) => known.get(token) ?? []);
      await Promise.all(
        some.map(async (delivered) => {
          const status = await mark(delivered, consumer);
          if (status === null ? random.chance(0.7) : random.chance(0.1)) await mark(delivered, consumer);
        }),
      );
    },
    forgets: () => isAsked && random.chance(0.2),
  };
}
