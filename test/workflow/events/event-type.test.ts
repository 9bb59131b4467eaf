// The types of event types: what an upcaster takes and gives is checked as it is written.
import { expect, test } from "bun:test";
import { defineEvent, type EventData, Type } from "../../../src/workflow/index.ts";

test("a type is as it was when another is made of it", () => {
  const one = defineEvent("Kept", Type.String(), { description: "d" });
  const two = one.version(Type.Number(), { upcast: (text) => text.length });
  expect([one.versions.length, two.versions.length, one.latest, two.latest]).toEqual([
    1,
    2,
    Type.String(),
    Type.Number(),
  ]);
  expect(two.versions.map(({ description }) => description)).toEqual(["d", null]);
});

test("an upcaster that does not take the version before, or does not give its own, does not compile", () => {
  const one = defineEvent("Typed", Type.Object({ a: Type.String() }));
  const two = Type.Object({ b: Type.Number() });
  const good = one.version(two, { upcast: ({ a }) => ({ b: a.length }) });
  const data: EventData<typeof good> = { b: 1 };
  // @ts-expect-error the first version has no b
  one.version(two, { upcast: ({ b }) => ({ b }) });
  // @ts-expect-error b is a number
  one.version(two, { upcast: ({ a }) => ({ b: a }) });
  // @ts-expect-error nothing of the second version
  one.version(two, { upcast: () => ({}) });
  // @ts-expect-error it cannot be waited for
  one.version(two, { upcast: async ({ a }) => ({ b: a.length }) });
  // @ts-expect-error the third takes the second, not the first
  good.version(two, { upcast: ({ a }) => ({ b: a.length }) });
  // @ts-expect-error the data of the newest version
  const wrong: EventData<typeof good> = { a: "x" };
  expect([good.name, good.versions.length, data, wrong]).toEqual(["Typed", 2, { b: 1 }, { a: "x" } as never]);
});
