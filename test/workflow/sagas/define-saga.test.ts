// The types of sagas: what their steps are given and may add is checked as it is written; so are names and policies.
import { expect, test } from "bun:test";
import { defineEvent, defineModule, defineSaga, Type } from "../../../src/workflow/index.ts";

const Paid = defineEvent("Paid", Type.Object({ amount: Type.Number() }));
const Order = Type.Object({
  orderId: Type.String(),
  paid: Type.Optional(Type.Number()),
  due: Type.Optional(Type.String()),
});

test("data flow typed from the schemas through the steps, and what does not fit does not compile", () => {
  const saga = defineSaga("typed", { data: Order, deadline: "1h" })
    .step("one", {
      execute: async ({ orderId }, { attempt }) => ({ paid: orderId.length + attempt }),
      compensate: ({ paid }) => ({ paid: paid === undefined ? 0 : -paid }),
    })
    .step("two", { execute: () => {} })
    .waitFor("three", Paid, {
      timeout: "1m",
      when: ({ amount }, { paid }) => amount === paid,
      take: ({ amount }, _, { offset }) => ({ paid: amount + offset }),
    })
    .sleep("four", { for: "10ms" })
    .sleep("five", { until: ({ due }) => due ?? "2026-01-01T00:00:00Z" });
  expect(saga.steps.map(({ name, kind }) => `${name} ${kind}`)).toEqual([
    "one execute",
    "two execute",
    "three wait",
    "four sleep",
    "five sleep",
  ]);
  // Never called: only what the compiler says of it counts.
  const refused = () => {
    // @ts-expect-error paid is a number
    saga.step("six", { execute: () => ({ paid: "much" }) });
    // @ts-expect-error the same of what comes later
    saga.step("six", { execute: async () => ({ paid: "much" }) });
    // @ts-expect-error there is no such member
    saga.step("six", { execute: ({ price }) => ({ paid: price }) });
    // @ts-expect-error an event of this type has no price
    saga.waitFor("six", Paid, { when: ({ price }) => price > 0 });
    // @ts-expect-error it is no time
    saga.sleep("six", { until: ({ paid }) => paid });
    // @ts-expect-error for or until
    saga.sleep("six", {});
    const Text = Type.Object({ text: Type.String() });
    defineSaga("started", { data: Order, input: Text, start: ({ text }) => ({ orderId: text }) });
    // @ts-expect-error the data have an orderId
    defineSaga("started", { data: Order, input: Text, start: ({ text }) => ({ order: text }) });
    // @ts-expect-error what it is started with is no order, and nothing makes one of it
    defineSaga("started", { data: Order, input: Text });
  };
  expect(refused).toBeFunction();
});

test("names, times and policies that make no sense are told in a sentence", () => {
  const saga = defineSaga("said", { data: Order });
  const execute = () => {};
  const wrong: [() => unknown, string][] = [
    [() => defineSaga("Said", { data: Order }), "a saga is named by 1 to 63 lower-case letters"],
    [() => defineSaga("said", { data: Order, version: 0 }), "saga said: version must be a whole number from 1"],
    [() => defineSaga("said", { data: Order, deadline: "soon" }), "saga said: deadline must be a duration"],
    [() => saga.step("A", { execute }), "a step of the saga said is named by"],
    [() => saga.step("a", { execute }).step("a", { execute }), "saga said has two steps a"],
    [() => saga.step("a", { execute, timeout: "1h" }), "saga said, step a: timeout must be a duration"],
    [() => saga.step("a", { execute, retry: { attempts: 0 } }), "saga said, step a: retry.attempts must be"],
    [() => saga.step("a", { execute, retry: { factor: 0.5 } }), "saga said, step a: retry.factor must be"],
    [() => saga.step("a", { execute, retry: { max: "x" } }), "saga said, step a: retry.max must be a duration"],
    [() => saga.step("a", { execute, compensateRetry: {} }), "compensateRetry stands without compensate"],
    [() => saga.waitFor("a", Paid, { timeout: "" }), "saga said, step a: timeout must be a duration"],
    [() => saga.sleep("a", { for: "long" }), "saga said, step a: for must be a duration"],
    [() => defineModule({ name: "m", sagas: [saga, saga] }), "module m defines said twice"],
  ];
  for (const [define, message] of wrong) expect(define).toThrow(message);
});
