// The sagas that the tests start. What a step does is said by the test, for its own saga.
import {
  defineCommand,
  defineEvent,
  defineModule,
  defineSaga,
  reject,
  type SagaContext,
  Type,
} from "../../../src/workflow/index.ts";

export const Paid = defineEvent("TrialPaid", Type.Object({ amount: Type.Number() })).version(
  Type.Object({ amount: Type.Number(), currency: Type.String() }),
  { upcast: ({ amount }) => ({ amount, currency: "EUR" }) },
);
export const Noted = defineEvent("TrialNoted", Type.Object({ note: Type.String({ maxLength: 20 }) }));

/** Notes something on a stream, and says how often it was called. */
let noted = 0;
export const note = defineCommand("trial-note", {
  body: Type.Object({ stream: Type.String(), note: Type.String() }),
  result: Type.Object({ calls: Type.Integer() }),
  handle({ stream, note: text }, { workflow }) {
    if (text === "refused") reject("such notes are refused");
    if (text === "broken") throw new Error("the pen is broken");
    workflow.emit(stream, Noted.event({ note: text }));
    return { calls: ++noted };
  },
});

const Data = Type.Object({
  name: Type.String(),
  trail: Type.Optional(Type.Array(Type.String())),
  paid: Type.Optional(Type.Number()),
  until: Type.Optional(Type.String()),
});

type TrialData = { name: string; trail?: string[]; paid?: number; until?: string };
type Behaviour = (data: TrialData, context: SagaContext) => unknown;

/** By correlation id and step: what is done there instead of leaving a trail. */
const behaviours = new Map<string, Behaviour>();
/** Calls, in order, by correlation id: `step` or `undo step`. */
const calls = new Map<string, string[]>();

/** What a step of the saga of a correlation does; `undo {step}` for its compensation. */
export function whenever(correlationId: string, step: string, behaviour: Behaviour): void {
  behaviours.set(`${correlationId}/${step}`, behaviour);
}

export function callsOf(correlationId: string): string[] {
  return calls.get(correlationId) ?? [];
}

const does = (what: string) => (data: TrialData, context: SagaContext) => {
  const { correlationId } = context;
  calls.set(correlationId, [...callsOf(correlationId), what]);
  const behaviour = behaviours.get(`${correlationId}/${what}`);
  // The additions are checked by the saga, whatever a test returns.
  if (behaviour !== undefined) return behaviour(data, context) as undefined;
  return { trail: [...(data.trail ?? []), what] };
};

const quick = { attempts: 3, initial: "5ms", factor: 2, max: "50ms" } as const;
const step = (name: string, timeout = "10s") => ({
  execute: does(name),
  compensate: does(`undo ${name}`),
  retry: quick,
  compensateRetry: quick,
  timeout,
});

export const three = defineSaga("three", { data: Data })
  .step("one", step("one"))
  .step("two", step("two", "200ms"))
  .step("three", { execute: does("three"), retry: quick });

const payment = defineSaga("payment", { data: Data })
  .step("order", step("order"))
  .waitFor("pay", Paid, {
    timeout: "2s",
    when: ({ amount }) => amount > 0,
    take: ({ amount, currency }, { trail = [] }) => ({ paid: amount, trail: [...trail, currency] }),
    compensate: does("undo pay"),
  })
  .step("ship", step("ship"));

const patient = defineSaga("patient", { data: Data })
  .waitFor("pay", Paid, { take: ({ amount }) => ({ paid: amount }) })
  .waitFor("pay-again", Paid, { take: ({ amount }, { paid = 0 }) => ({ paid: paid + amount }) })
  .waitFor("note", Noted, { take: ({ note }, { trail = [] }) => ({ trail: [...trail, note] }) });

const sleepy = defineSaga("sleepy", { data: Data })
  .step("before", step("before"))
  .sleep("nap", { for: "150ms" })
  .sleep("rest", { until: ({ until }) => until ?? "2000-01-01T00:00:00Z" })
  .step("after", step("after"));

const hurried = defineSaga("hurried", { data: Data, deadline: "300ms" })
  .step("begin", step("begin"))
  .waitFor("pay", Paid)
  .step("end", step("end"));

const started = defineSaga("started", {
  data: Data,
  input: Type.Object({ first: Type.String(), last: Type.String() }),
  start: ({ first, last }) => ({ name: `${first} ${last}` }),
}).step("only", { execute: does("only") });

export default defineModule({
  name: "trial",
  events: [Paid, Noted],
  commands: [note],
  sagas: [three, payment, patient, sleepy, hurried, started],
});
