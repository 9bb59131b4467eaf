// Specifications of deciders as modules write them: they hold, they fail where they should, and they find what would fail in the service.
import { expect, test } from "bun:test";
import { defineDecider, defineEvent, reject, Type } from "sluice";
import { given } from "sluice/testing";

const Opened = defineEvent("Opened", Type.Object({ owner: Type.String() })).version(
  Type.Object({ owner: Type.String(), limit: Type.Integer() }),
  { upcast: ({ owner }) => ({ owner, limit: 100 }) },
);
const OpenedOnce = defineEvent("Opened", Type.Object({ owner: Type.String() }));
const Drawn = defineEvent("Drawn", Type.Object({ amount: Type.Integer(), note: Type.Optional(Type.String()) }));

const account = defineDecider("account", {
  state: Type.Object({ limit: Type.Integer(), drawn: Type.Integer(), last: Type.Optional(Type.String()) }),
  initialState: { limit: 0, drawn: 0 },
})
  .on(Opened, (state, { limit }) => ({ ...state, limit }))
  .on(Drawn, (state, { amount }, event) => ({ ...state, drawn: state.drawn + amount, last: event.id }))
  .command("open", {
    body: Type.Object({ id: Type.String(), owner: Type.String() }),
    id: ({ id }) => id,
    decide: ({ limit }, { owner }) => (limit > 0 ? [] : Opened.event({ owner, limit: 50 }, { subject: owner })),
  })
  .command("draw", {
    body: Type.Object({ id: Type.String(), amount: Type.Integer({ minimum: 1 }) }),
    result: Type.Object({ left: Type.Integer() }),
    id: ({ id }) => id,
    decide({ limit, drawn }, { amount }) {
      const left = limit - drawn - amount;
      if (left < 0) reject("the limit is reached", { left: limit - drawn });
      return { events: [Drawn.event({ amount })], result: { left } };
    },
  });

const opened = Opened.event({ owner: "ada", limit: 50 });
const draw = (amount: number) => ({ id: "1", amount });
const message = (specification: () => unknown): string => {
  try {
    specification();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return "it holds";
};

test("what a command comes to is told: events, result, state, or a rejection", () => {
  given(account)
    .when("open", { id: "1", owner: "ada" })
    .then([Opened.event({ owner: "ada", limit: 50 }, { subject: "ada" })])
    .thenState({ limit: 50, drawn: 0 });
  given(account, [opened]).when("open", { id: "1", owner: "ada" }).then([]);
  given(account, [opened, Drawn.event({ amount: 20 })])
    .when("draw", draw(10))
    .then([Drawn.event({ amount: 10, note: undefined as never })])
    .thenResult({ left: 20 })
    .thenState({ limit: 50, drawn: 30, last: "event-2" });
  given(account, [opened]).when("draw", draw(60)).thenRejects("the limit is reached", { left: 50 });
  given(account, [opened]).when("draw", draw(60)).thenRejects(/limit/);
  given(account, [opened, Drawn.event({ amount: 5 }, { id: "d" })]).thenState({ limit: 50, drawn: 5, last: "d" });
});

test("events of an older version are upcast", () => {
  given(account, [OpenedOnce.event({ owner: "ada" })]).thenState({ limit: 100, drawn: 0 });
});

test("a specification that does not hold fails, and says how", () => {
  const drawn = given(account, [opened]).when("draw", draw(10));
  expect(message(() => drawn.then([]))).toStartWith("the events should be [");
  expect(message(() => drawn.then([Drawn.event({ amount: 11 })]))).toContain('"amount":10');
  expect(message(() => drawn.then([Drawn.event({ amount: 10 }, { subject: "x" })]))).toStartWith(
    "the events should be",
  );
  expect(message(() => drawn.thenState({ limit: 50, drawn: 11 }))).toStartWith("the state should be");
  expect(message(() => drawn.thenResult({ left: 1 }))).toStartWith("the result should be");
  expect(message(() => drawn.thenRejects("x"))).toBe("the command was not rejected");
  const rejected = given(account).when("draw", draw(10));
  expect(message(() => rejected.then([]))).toBe("the command was rejected: the limit is reached");
  expect(message(() => rejected.thenState({ limit: 0, drawn: 0 }))).toStartWith("the command was rejected");
  expect(message(() => rejected.thenResult({ left: 0 }))).toStartWith("the command was rejected");
  expect(message(() => rejected.thenRejects("another reason"))).not.toBe("it holds");
  expect(message(() => rejected.thenRejects(/another/))).not.toBe("it holds");
  expect(message(() => rejected.thenRejects("the limit is reached", { left: 1 }))).toStartWith("the details should be");
});

test("a specification that is waited for by mistake says what it is", async () => {
  // @ts-expect-error it is no promise
  const waited = (async () => (await given(account).when("draw", draw(10))) as unknown)();
  expect(await waited.catch((error: Error) => error.message)).toStartWith("a specification is nothing to wait for");
});

test("what would fail in the service fails here", () => {
  const body = Type.Object({ id: Type.String() });
  const id = ({ id }: { id: string }) => id;
  const base = defineDecider("odd", { state: Type.Object({ at: Type.Any() }), initialState: { at: [] as unknown } });
  const happen = { body, id, decide: () => Drawn.event({ amount: 1 }) };
  const odd = (next: (state: { at: unknown }) => unknown) =>
    message(() =>
      given(base.on(Drawn, next as never).command("happen", happen))
        .when("happen", { id: "1" })
        .then([Drawn.event({ amount: 1 })]),
    );
  expect(odd((state) => state)).toBe("it holds");
  expect(odd(() => ({ at: new Date() }))).toBe("the state after Drawn is not what its schema says: /at is a Date");
  expect(odd(() => ({ at: [new Map()] }))).toBe("the state after Drawn is not what its schema says: /at/0 is a Map");
  expect(odd(() => ({ at: Number.NaN }))).toBe("the state after Drawn is not what its schema says: /at is NaN");
  expect(odd(() => ({ at: () => 1 }))).toBe("the state after Drawn is not what its schema says: /at is a function");
  expect(odd(() => ({ other: 1 }))).toBe("the state after Drawn is not what its schema says: /at is required");
  expect(odd((state) => Object.assign(state, { at: 1 }))).toBe(
    "odd, Drawn: it changed the state it was given, instead of returning a new one",
  );
  expect(odd((state) => ({ at: (state.at as number[]).push(1) }))).toBe(
    "odd, Drawn: it changed the state it was given, instead of returning a new one",
  );
  expect(odd(() => undefined)).toBe("odd, Drawn: it returned nothing");
  expect(odd(async () => ({}))).toStartWith("odd, Drawn: it returned a promise");
  expect(message(() => given(account, [Drawn.event({ amount: 0.5 })]))).toBe(
    "the data of Drawn is not what its schema says: /amount must be integer",
  );
  expect(message(() => given(account).when("draw", draw(0)))).toBe(
    "the body of draw is not what its schema says: /amount must be >= 1",
  );
  expect(message(() => given(account).when("open", { id: "a b", owner: "x" }))).toBe(
    '"account-a b" is no name of a stream',
  );
  const wrong = base.command("happen", { ...happen, decide: () => Drawn.event({ amount: "1" as never }) });
  expect(message(() => given(wrong).when("happen", { id: "1" }))).toBe(
    "the data of Drawn is not what its schema says: /amount must be integer",
  );
  const throwing = base.command("happen", {
    ...happen,
    decide: () => {
      throw new TypeError("oh");
    },
  });
  expect(message(() => given(throwing).when("happen", { id: "1" }))).toBe("oh");
});

test("an initial state that is not of its schema is refused where it is written", () => {
  const define = (initialState: unknown) =>
    message(() => defineDecider("n", { state: Type.Object({ n: Type.Any() }), initialState: initialState as never }));
  expect(define({ n: 1 })).toBe("it holds");
  expect(define({})).toBe("decider n: its initial state is not of its schema: /n is required");
  expect(define({ n: new Date() })).toBe("decider n: its initial state is not of its schema: /n is a Date");
});

test("a command or a body that the decider does not have does not compile", () => {
  // @ts-expect-error there is no such command
  expect(message(() => given(account).when("close", { id: "1" }))).toBe("account has no command close");
  // @ts-expect-error it takes an amount
  expect(message(() => given(account).when("draw", { id: "1" }))).toStartWith("the body of draw");
  // @ts-expect-error the state has no such member
  expect(message(() => given(account).thenState({ limit: 0, drawn: 0, other: 1 }))).toStartWith("the state should be");
});
