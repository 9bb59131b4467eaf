// The types of subscriptions: what a handler is given follows from the event type.
import { expect, test } from "bun:test";
import { defineEvent, defineModule, defineSubscription, Type } from "../../../src/workflow/index.ts";

test("a handler that takes other data than those of the newest version does not compile", () => {
  const Added = defineEvent("Added", Type.Object({ name: Type.String() })).version(
    Type.Object({ first: Type.String(), age: Type.Optional(Type.Number()) }),
    { upcast: ({ name }) => ({ first: name }) },
  );
  const got: (string | number | null)[] = [];
  const one = defineSubscription("one", { stream: "users" });
  const two = one.on(Added, async ({ first, age }, event, { attempt, signal }) => {
    got.push(first.length, age?.toFixed() ?? null, event.partitionKey, attempt);
    signal.throwIfAborted();
  });
  // @ts-expect-error the first version is no more
  one.on(Added, ({ name }) => void name);
  // @ts-expect-error age is a number
  one.on(Added, ({ age }) => void age?.length);
  // @ts-expect-error nobody takes what it returns
  one.on(Added, ({ first }) => first);
  // @ts-expect-error no such mode
  defineSubscription("three", { stream: "users", mode: "all" });
  expect([one.handlers.length, two.handlers.length]).toEqual([0, 1]);
  expect(defineModule({ name: "users", events: [Added], subscriptions: [two] }).subscriptions).toEqual([two]);
});
