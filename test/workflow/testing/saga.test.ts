// Specifications of sagas as modules write them: events come and time passes without a service, and the machine is the real one.
import { expect, test } from "bun:test";
import { defineCommand, defineEvent, defineSaga, reject, Type } from "sluice";
import { given } from "sluice/testing";

const Reserved = defineEvent("Reserved", Type.Object({ seat: Type.String() }));
const Released = defineEvent("Released", Type.Object({ seat: Type.String() }));
const Paid = defineEvent("Paid", Type.Object({ amount: Type.Number() })).version(
  Type.Object({ amount: Type.Number(), currency: Type.String() }),
  { upcast: ({ amount }) => ({ amount, currency: "EUR" }) },
);
const PaidOnce = defineEvent("Paid", Type.Object({ amount: Type.Number() }));
const issue = defineCommand("issue", {
  body: Type.Object({ seat: Type.String() }),
  result: Type.Object({ ticket: Type.String() }),
  handle: () => ({ ticket: "never called here" }),
});

const data = Type.Object({
  flight: Type.String(),
  price: Type.Number(),
  seat: Type.Optional(Type.String()),
  paid: Type.Optional(Type.String()),
  ticket: Type.Optional(Type.String()),
});
const booking = defineSaga("booking", {
  data,
  input: Type.Object({ flight: Type.String() }),
  start: ({ flight }) => ({ flight, price: 100 }),
  deadline: "3h",
})
  .step("reserve", {
    execute(_, { emit, attempt }) {
      emit("seats", Reserved.event({ seat: "12A" }));
      if (attempt < 3) throw new Error("busy");
      return { seat: "12A" };
    },
    compensate({ seat = "" }, { emit }) {
      emit("seats", Released.event({ seat }));
      return { seat: undefined };
    },
    retry: { attempts: 3, initial: "10m" },
  })
  .waitFor("payment", Paid, {
    timeout: "30m",
    when: ({ amount }, { price }) => amount >= price,
    take: ({ amount, currency }) => ({ paid: `${amount} ${currency}` }),
  })
  .sleep("cool-off", { for: "1h" })
  .step("issue", {
    execute: async ({ seat = "" }, { run }) => ({ ticket: (await run(issue, { seat })).ticket }),
  });
const start = { flight: "SL1" };
const commands = { issue: () => ({ ticket: "t-1" }) };

async function failure(specification: () => unknown): Promise<string> {
  try {
    await specification();
  } catch (error) {
    return (error as Error).message;
  }
  return "it holds";
}

test("a saga goes on as events come and time passes, and its steps emit, run commands and are tried again", async () => {
  const waiting = given(booking, start, { commands });
  (await waiting.run())
    .thenState("Running", "payment")
    .thenData({ flight: "SL1", price: 100, seat: "12A" })
    .thenCompleted(["reserve"])
    .thenEmitted([["seats", Reserved.event({ seat: "12A" })]])
    .thenRan([]);
  const paid = waiting.when(PaidOnce.event({ amount: 50 })).when(PaidOnce.event({ amount: 100 }));
  (await paid.run()).thenState("Running", "cool-off");
  (await paid.whenPassed("59m").run()).thenState("Running", "cool-off");
  (await paid.whenPassed("1h").run())
    .thenState("Completed")
    .thenRan([["issue", { seat: "12A" }]])
    .thenData({ flight: "SL1", price: 100, seat: "12A", paid: "100 EUR", ticket: "t-1" });
  // What was built on stays as it was.
  (await waiting.run()).thenState("Running", "payment");
});

test("a wait whose time is over, a command that is refused, and a cancellation compensate what was done", async () => {
  const compensated = [
    ["seats", Reserved.event({ seat: "12A" })],
    ["seats", Released.event({ seat: "12A" })],
  ] as const;
  (await given(booking, start).whenPassed("30m").run())
    .thenState("Compensated")
    .thenError("no Paid came in time")
    .thenCompensated(["reserve"])
    .thenEmitted(compensated)
    .thenData({ flight: "SL1", price: 100 });
  const refusing = { commands: { issue: () => reject("The flight is full", { flight: "SL1" }) } };
  (
    await given(booking, start, refusing)
      .when(Paid.event({ amount: 100, currency: "CHF" }))
      .whenPassed("2h")
      .run()
  )
    .thenState("Compensated")
    .thenError("The flight is full")
    .thenRan([["issue", { seat: "12A" }]]);
  (await given(booking, start).whenCancelled().run()).thenState("Compensated").thenError(/cancelled/);
});

test("its deadline ends it on the way, however far time goes", async () => {
  const slow = defineSaga("slow", { data: Type.Object({}), deadline: "1h" })
    .sleep("one", { for: "40m" })
    .sleep("two", { for: "40m" });
  (await given(slow, {}).whenPassed("10h").run())
    .thenState("Compensated")
    .thenCompleted(["one"])
    .thenError(/deadline/);
  (await given(slow, {}).whenPassed("50m").run()).thenState("Running", "two");
});

test("a sleep until a time, and waits by what an event bears, in order, with an outcome for none", async () => {
  const saga = defineSaga("quote", {
    data: Type.Object({
      id: Type.String(),
      until: Type.String(),
      paid: Type.Optional(Type.Number()),
      late: Type.Optional(Type.Boolean()),
    }),
  })
    .sleep("first", { until: ({ until }) => until })
    .waitFor("by-stream", Paid, {
      match: { stream: ({ id }) => `cart-${id}` },
      take: ({ amount }) => ({ paid: amount }),
    })
    .waitFor("by-subject", Paid, {
      match: { subject: ({ id }) => id },
      timeout: "1m",
      onTimeout: () => ({ late: true }),
    });
  const until = "2026-11-21T10:00:00.000Z";
  const sleeping = given(saga, { id: "7", until }, { at: "2026-11-20T10:00:00.000Z" });
  (await sleeping.run()).thenState("Running", "first");
  const paid = (amount: number, subject?: string) =>
    Paid.event({ amount, currency: "EUR" }, subject === undefined ? {} : { subject });
  // It came before its wait began, and is found all the same.
  const awake = sleeping.when(paid(1)).when(paid(2), { stream: "cart-7", correlationId: null }).whenTime(until);
  (await awake.run()).thenState("Running", "by-subject").thenData({ id: "7", until, paid: 2 });
  (await awake.when(paid(3, "8")).run()).thenState("Running");
  (await awake.when(paid(3, "7")).run()).thenState("Completed").thenData({ id: "7", until, paid: 2 });
  (await awake.whenPassed("2m").run()).thenState("Completed").thenData({ id: "7", until, paid: 2, late: true });
});

test("what is not so fails with what is, and what would fail in the service is told", async () => {
  const run = await given(booking, start).run();
  expect(await failure(() => run.thenState("Completed"))).toStartWith("the state should be Completed, not Running\n");
  expect(await failure(() => run.thenData({ flight: "SL2", price: 1 }))).toStartWith("the data should be ");
  expect(await failure(() => run.thenEmitted([]))).toStartWith("the emitted events should be []");
  // @ts-expect-error it is started with a flight
  expect(await failure(() => given(booking, {}).run())).toContain(
    "what it is started with is not what its schema says",
  );
  // @ts-expect-error there is no such property
  expect(await failure(() => run.thenData({ flight: "SL1", price: 100, seat: "12A", extra: 1 }))).toStartWith(
    "the data",
  );
  expect(await failure(() => given(booking, start).whenPassed("soon"))).toBe('"soon" is no duration such as 2h');
  const backwards = given(booking, start, { at: "2026-11-21T00:00:00Z" }).whenTime("2026-11-20T00:00:00Z");
  expect(await failure(() => backwards.run())).toBe("time does not run backwards");
  const unfit = defineSaga("unfit", { data: Type.Object({ n: Type.Integer() }) }).step("one", {
    execute: () => ({ n: 0.5 }),
  });
  (await given(unfit, { n: 1 }).run()).thenState("Compensated").thenError(/would not match their schema: \/n/);
});
