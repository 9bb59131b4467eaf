// What a consumer does with what it was handed: mostly it acknowledges; at times it fails, sleeps, lies, or forgets.
import { setTimeout as sleep } from "node:timers/promises";
import type { Delivered, SettlingAction, SubscriptionDeclared } from "./consumer-history.ts";
import type { DeliveryClient, SettleOptions } from "./delivery-client.ts";
import type { History } from "./history.ts";
import type { Marking } from "./marking.ts";
import type { Random } from "./random.ts";

export type Handling = {
  /** Resolves when the consumer is ready for more; what it does later goes on in the background. */
  handle: (deliveries: readonly Delivered[]) => Promise<void>;
  /** From now on everything is acknowledged at once. */
  calm: () => void;
  /** Resolves when nothing goes on in the background. */
  idle: () => Promise<void>;
};

export type HandlingOptions = {
  client: DeliveryClient;
  marking: Marking;
  history: History;
  random: Random;
  declared: SubscriptionDeclared;
  consumer: string;
  /** Fires when nobody can expect an outcome any more. */
  giveUp: AbortSignal;
};

type Turn = (tokens: string[], deadline: number) => Promise<void>;

const settledElsewhere = "nobody";

export function createHandling(options: HandlingOptions): Handling {
  const { client, marking, history, random, declared, consumer, giveUp } = options;
  const { visibilityTimeoutMs } = declared;
  const background = new Set<Promise<void>>();
  let calm = false;

  /** Sends a request, and, if it is to be sure, repeats it until its outcome is known. */
  async function settle(action: SettlingAction, given: Omit<SettleOptions, "consumer">, surely: boolean) {
    const named = random.chance(0.7) ? consumer : null;
    for (;;) {
      const answered = await client.settle(declared, action, { ...given, consumer: named });
      if (answered.status === 200 || !surely || giveUp.aborted) return;
      await sleep(random.between(30, 200));
    }
  }

  async function ack(tokens: string[]): Promise<void> {
    await marking.mark(tokens);
    if (!calm && marking.forgets()) return;
    await settle("ack", { tokens }, calm || random.chance(0.7));
  }

  function later(work: () => Promise<void>): void {
    const done = work();
    background.add(done);
    void done.finally(() => background.delete(done));
  }

  /** Waits until so many milliseconds after a time of the run. */
  const until = (time: number, afterMs: number) => sleep(Math.max(0, time - history.now() + afterMs));

  const inParts: Turn = async (tokens) => {
    const parts = random.between(1, 3);
    const dealt = Array.from({ length: parts }, (_, part) => tokens.filter((_t, i) => i % parts === part));
    if (random.chance(0.5)) dealt.reverse();
    await sleep(random.between(0, 40));
    await Promise.all(dealt.filter((part) => part.length > 0).map(ack));
    if (random.chance(0.1)) await ack(tokens);
  };

  const returning: Turn = async (tokens) => {
    const cut = random.between(0, tokens.length - 1);
    const back = tokens.slice(cut, cut + random.between(1, 5));
    const rest = tokens.filter((token) => !back.includes(token));
    const action = random.pick(["requeue", "requeue", "requeue", "dead-letter", "drop"] as const);
    const reason = `${consumer} says no ${random.between(0, 1e9)}`;
    const delay = random.pick([{}, { delayMs: 0 }, { delayMs: random.between(50, 800) }]);
    if (random.chance(0.2)) await marking.mark(back);
    const giveBack = () => settle(action, { tokens: back, reason, ...delay }, random.chance(0.7));
    if (rest.length === 0) return giveBack();
    if (random.chance(0.3)) await Promise.all([giveBack(), ack(rest)]);
    else if (random.chance(0.5)) await ack(rest).then(giveBack);
    else await giveBack().then(() => ack(rest));
  };

  const extending: Turn = async (tokens, deadline) => {
    if (random.chance(0.4)) await until(deadline, random.between(-9, 1));
    const some = random.chance(0.5) ? tokens : tokens.filter(() => random.chance(0.5));
    const extensionMs = random.between(200, 2_000);
    if (some.length > 0) await settle("extend", { tokens: some, extensionMs }, false);
    const rest = async () => {
      await sleep(random.between(0, extensionMs * 1.1));
      await ack(tokens);
    };
    if (random.chance(0.5)) await rest();
    else later(rest);
  };

  /** Works for longer than it has time, and then acknowledges. */
  const late: Turn = async (tokens, deadline) => {
    later(async () => {
      await until(deadline, random.between(20, 800));
      await ack(tokens);
    });
  };

  /** Acknowledges, or gives back, in the very moment in which the time is over. */
  const lastMoment: Turn = async (tokens, deadline) => {
    later(async () => {
      await until(deadline, random.between(-12, 4));
      if (random.chance(0.7)) await ack(tokens);
      else await settle("requeue", { tokens, reason: "no time", delayMs: 0 }, false);
    });
  };

  const wrongly: Turn = async (tokens) => {
    await marking.mark(tokens, settledElsewhere);
    await client.settle(declared, "ack", { tokens, consumer: settledElsewhere });
    await ack(tokens);
  };

  const slowly: Turn = async (tokens) => {
    for (const token of tokens.slice(0, 20)) await ack([token]);
    if (tokens.length > 20) await ack(tokens.slice(20));
  };

  const forgetting: Turn = async () => {};

  const turns: [number, Turn][] = [
    [50, inParts],
    [14, returning],
    [9, extending],
    [7, late],
    [7, lastMoment],
    [3, wrongly],
    [5, slowly],
    [5, forgetting],
  ];
  const weights = turns.reduce((sum, [weight]) => sum + weight, 0);

  function pickTurn(): Turn {
    let at = random.between(1, weights);
    for (const [weight, turn] of turns) {
      at -= weight;
      if (at <= 0) return turn;
    }
    return inParts;
  }

  return {
    async handle(deliveries) {
      const leased = deliveries.filter(({ deadline }) => deadline !== null);
      if (leased.length === 0) return;
      marking.know(leased);
      const tokens = leased.map(({ token }) => token);
      const deadline = Math.min(...leased.map((d) => d.deadline ?? 0));
      if (calm) await ack(tokens);
      else await pickTurn()(tokens, deadline ?? history.now() + visibilityTimeoutMs);
    },
    calm() {
      calm = true;
    },
    async idle() {
      while (background.size > 0) await Promise.all(background);
    },
  };
}
