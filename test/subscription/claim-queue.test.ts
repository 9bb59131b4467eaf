import { describe, expect, test } from "bun:test";
import { type Claim, createClaimQueue } from "../../src/subscription/ledger/claim-queue.ts";
import type { Handout } from "../../src/subscription/ledger/delivery.ts";

const nothing: Handout = { deliveries: [], leases: [] };
const some: Handout = { deliveries: [], leases: [{ step: 1, part: 0 }] };

function queueWith(...consumers: (string | Partial<Claim>)[]) {
  const queue = createClaimQueue();
  const answers = new Map<string, unknown>();
  const giveUps = consumers.map((given, n) => {
    const consumer = typeof given === "string" ? given : (given.consumer ?? String(n));
    return queue.push({
      ...{ consumer, max: 1, visibilityTimeoutMs: 1_000, autoAcknowledge: false, impatient: false },
      ...(typeof given === "string" ? {} : given),
      resolve: (handout) => void answers.set(consumer, handout),
      reject: (error) => void answers.set(consumer, error),
    });
  });
  return { queue, answers, giveUps };
}
const names = (claims: readonly Claim[]) => claims.map(({ consumer }) => consumer);

describe("who waits", () => {
  test("is asked for in turn, and again behind the others when there was nothing", () => {
    const { queue } = queueWith("a", "b", "c");
    const first = queue.ask(2);
    expect(names(first)).toEqual(["a", "b"]);
    queue.passOver(first, [], false, false);
    const second = queue.ask(2);
    expect(names(second)).toEqual(["c", "a"]);
  });

  test("is answered at once when it gives up between two calls", () => {
    const { queue, giveUps } = queueWith("a");
    expect(giveUps[0]?.(false)).toBe(true);
    expect(queue.count()).toBe(0);
  });

  test("and gives up during a call is answered by that call, or with nothing behind it", () => {
    const { queue, answers, giveUps } = queueWith("a", "b");
    const [a] = queue.ask(2);
    expect(giveUps.map((giveUp) => giveUp(false))).toEqual([false, false]);
    expect(answers.size).toBe(0);
    if (a !== undefined) queue.answer(a, some);
    queue.returned();
    expect([...answers]).toEqual([
      ["a", some],
      ["b", nothing],
    ]);
    expect(queue.count()).toBe(0);
  });

  test("and whose connection is gone leaves at once, whatever is under way", () => {
    const { queue, answers, giveUps } = queueWith("a");
    const [a] = queue.ask(1);
    expect(giveUps[0]?.(true)).toBe(true);
    queue.returned();
    expect([a !== undefined && queue.has(a), answers.size]).toEqual([false, 0]);
  });

  test("is dismissed with nothing, behind the call of which it is a part", () => {
    const { queue, answers } = queueWith("a", "b");
    queue.ask(1);
    queue.dismiss();
    expect([...answers.keys()]).toEqual(["b"]);
    queue.returned();
    expect([...answers.keys()]).toEqual(["b", "a"]);
  });
});

describe("who cannot wait", () => {
  const impatient = { consumer: "a", impatient: true };
  test("is answered with nothing when others were given something twice, and more was left", () => {
    const { queue, answers } = queueWith(impatient, "b");
    for (let call = 1; call <= 2; call++) {
      expect(answers.size).toBe(0);
      const asking = queue.ask(10);
      queue.passOver(
        asking,
        asking.filter(({ consumer }) => consumer === "b"),
        true,
        false,
      );
    }
    expect(answers.get("a")).toEqual(nothing);
  });
  test("has its turn when nothing was left for it", () => {
    const { queue, answers } = queueWith(impatient, "b");
    for (let call = 1; call <= 10; call++) {
      const asking = queue.ask(10);
      queue.passOver(
        asking,
        asking.filter(({ consumer }) => consumer === "b"),
        false,
        false,
      );
    }
    expect(answers.size).toBe(0);
  });
  test("waits for the other claims of its member in a group", () => {
    const { queue, answers } = queueWith(impatient, { consumer: "a" });
    for (let call = 1; call <= 10; call++) {
      const asking = queue.ask(10);
      queue.passOver(
        asking,
        asking.filter((claim) => !claim.impatient),
        true,
        true,
      );
    }
    expect(answers.size).toBe(0);
  });
});
