import { expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import type { TailBatch } from "../../src/stream/tail.ts";
import { createPredicateEvaluator } from "../../src/subscription/following/predicate-evaluator.ts";
import { storedEvent } from "../support/events.ts";
import { until } from "../support/until.ts";

type Asked = {
  where: string;
  after: number;
  upTo: number;
  /** `gone` are positions that the database has no more. */
  answer: (satisfying: Set<number>, gone?: number[]) => void;
  fail: () => void;
};

function rig(maxWaitingBytes = 1_000_000) {
  const asked: Asked[] = [];
  const told: string[] = [];
  const evaluator = createPredicateEvaluator({
    evaluate: (where, after, upTo) =>
      new Promise((resolve, reject) => {
        const answer = (satisfying: Set<number>, gone: number[] = []) => {
          const all = Array.from({ length: upTo - after }, (_, i) => after + 1 + i);
          resolve({ satisfying, present: new Set(all.filter((position) => !gone.includes(position))) });
        };
        asked.push({ where, after, upTo, answer, fail: () => reject(new Error("no")) });
      }),
    onEvaluated: (where, batch, satisfying) => told.push(`${where} ${batch.after}-${batch.upTo} ${[...satisfying]}`),
    onGivenUp: (where) => told.push(`${where} given up`),
    maxWaitingBytes,
    log: createLog("silent", "test"),
  });
  return { evaluator, asked, told };
}

const batch = (after: number, upTo: number): TailBatch => ({
  after,
  upTo,
  events: Array.from({ length: upTo - after }, (_, i) => storedEvent({ position: after + 1 + i })),
});

test("what comes during an evaluation is evaluated together, and passed on batch by batch in order", async () => {
  const { evaluator, asked, told } = rig();
  evaluator.push("a", batch(0, 1));
  evaluator.push("a", batch(1, 3));
  evaluator.push("a", batch(3, 4));
  asked[0]?.answer(new Set([1]));
  await until("the second evaluation", () => asked.length === 2);
  expect(asked[1]).toMatchObject({ after: 1, upTo: 4 });
  asked[1]?.answer(new Set([4]));
  await until("all is passed on", () => told.length === 3);
  expect(told).toEqual(["a 0-1 1", "a 1-3 4", "a 3-4 4"]);
});

test("each path goes by itself: a slow one holds up no other", async () => {
  const { evaluator, asked, told } = rig();
  evaluator.push("slow", batch(0, 1));
  evaluator.push("quick", batch(0, 1));
  asked.find(({ where }) => where === "quick")?.answer(new Set());
  await until("the quick one is passed on", () => told.length === 1);
  expect(told).toEqual(["quick 0-1 "]);
});

test("a failure gives up what waited, and later batches are evaluated again", async () => {
  const { evaluator, asked, told } = rig();
  evaluator.push("a", batch(0, 1));
  evaluator.push("a", batch(1, 2));
  asked[0]?.fail();
  await until("it is given up", () => told.length === 1);
  evaluator.push("a", batch(2, 3));
  await until("the next evaluation", () => asked.length === 2);
  asked[1]?.answer(new Set([3]));
  await until("it is passed on", () => told.length === 2);
  expect(told).toEqual(["a given up", "a 2-3 3"]);
});

test("what waits for a slow evaluation is bounded", async () => {
  const { evaluator, asked, told } = rig(2_000);
  evaluator.push("a", batch(0, 1));
  for (let n = 1; n < 100 && told.length === 0; n++) evaluator.push("a", batch(n, n + 1));
  expect(told).toEqual(["a given up"]);
  expect(asked).toHaveLength(1);
});

test("what is gone from the database is not judged: whoever waits for it has to ask what became of it", async () => {
  const { evaluator, asked, told } = rig();
  evaluator.push("a", batch(0, 3));
  asked[0]?.answer(new Set([1, 3]), [2]);
  await until("it is given up", () => told.length > 0);
  evaluator.push("a", batch(3, 4));
  await until("the next is asked", () => asked.length === 2);
  asked[1]?.answer(new Set([4]));
  await until("it is told", () => told.length > 1);
  expect(told).toEqual(["a given up", "a 3-4 4"]);
});
