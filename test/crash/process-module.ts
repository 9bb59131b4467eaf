// The module that services run under faults: commands, a decider with rules, two projections and two sagas.
import { setTimeout as sleep } from "node:timers/promises";
import {
  defineCommand,
  defineDecider,
  defineEvent,
  defineModule,
  defineProjection,
  defineSaga,
  defineSqlProjection,
  reject,
  type SagaContext,
  Type,
} from "../../src/workflow/index.ts";

/** Names the request that an event is of; `n` counts its events from 0, of so many. */
const part = { mark: Type.String(), n: Type.Integer(), of: Type.Integer() };

const Noted = defineEvent("Noted", Type.Object({ ...part, nonce: Type.String() }));

/** Emits one event a stream, in this order. The nonce is another one at each call, so that an answer tells of which call it is. */
const note = defineCommand("note", {
  body: Type.Object({
    mark: Type.String(),
    streams: Type.Array(Type.String()),
    isRefused: Type.Boolean(),
    restMs: Type.Integer(),
  }),
  result: Type.Object({ nonce: Type.String() }),
  async handle({ mark, streams, isRefused, restMs }, { workflow }) {
    const nonce = crypto.randomUUID();
    streams.forEach((stream, n) => {
      workflow.emit(stream, Noted.event({ mark, n, of: streams.length, nonce }));
    });
    if (restMs > 0) await sleep(restMs);
    if (isRefused) reject("It was to be refused");
    return { nonce };
  },
});

/** `before`: the balance that the decision has seen. */
const change = { ...part, amount: Type.Integer(), before: Type.Integer() };
const Deposited = defineEvent("Deposited", Type.Object(change));
const Withdrawn = defineEvent("Withdrawn", Type.Object(change));
const Held = defineEvent("Held", Type.Object({ ...change, by: Type.String() }));
const GivenBack = defineEvent("GivenBack", Type.Object({ ...change, by: Type.String() }));
const Settled = defineEvent("Settled", Type.Object({ ...change, by: Type.String() }));

/** What an account and what is held of it may come to together. */
export const accountLimit = 500;

const asked = { account: Type.String(), mark: Type.String() };
const amount = Type.Integer({ minimum: 1 });

/** Never below zero, never above the limit; what is held is given back or settled once. */
export const account = defineDecider("account", {
  state: Type.Object({ balance: Type.Integer(), held: Type.Record(Type.String(), Type.Integer()) }),
  initialState: { balance: 0, held: {} },
  snapshotEvery: 20,
})
  .on(Deposited, (state, event) => ({ ...state, balance: state.balance + event.amount }))
  .on(Withdrawn, (state, event) => ({ ...state, balance: state.balance - event.amount }))
  .on(Held, ({ balance, held }, event) => ({
    balance: balance - event.amount,
    held: { ...held, [event.by]: event.amount },
  }))
  .on(GivenBack, ({ balance, held }, event) => ({ balance: balance + event.amount, held: without(held, event.by) }))
  .on(Settled, ({ balance, held }, event) => ({ balance, held: without(held, event.by) }))
  .command("deposit", {
    body: Type.Object({ ...asked, amount }),
    id: (body) => body.account,
    decide({ balance, held }, body) {
      if (total(balance, held) + body.amount > accountLimit) reject("There is too much of it", { balance });
      return Deposited.event({ mark: body.mark, n: 0, of: 1, amount: body.amount, before: balance });
    },
  })
  .command("withdraw", {
    description: "In several parts, each an event: all of them or none",
    body: Type.Object({ ...asked, parts: Type.Array(amount) }),
    id: (body) => body.account,
    decide({ balance }, { mark, parts }) {
      if (parts.reduce((sum, one) => sum + one, 0) > balance) reject("There is too little of it", { balance });
      let left = balance;
      return parts.map((one, n) => {
        const before = left;
        left -= one;
        return Withdrawn.event({ mark, n, of: parts.length, amount: one, before });
      });
    },
  })
  .command("hold", {
    body: Type.Object({ ...asked, by: Type.String(), amount }),
    id: (body) => body.account,
    decide({ balance, held }, { mark, by, amount: wanted }) {
      if (Object.hasOwn(held, by)) reject("It is held already", { balance });
      if (wanted > balance) reject("There is too little of it", { balance });
      return Held.event({ mark, n: 0, of: 1, by, amount: wanted, before: balance });
    },
  })
  .command("give-back", {
    description: "Nothing, if nothing is held: what was settled is gone",
    body: Type.Object({ ...asked, by: Type.String() }),
    id: (body) => body.account,
    decide({ balance, held }, { mark, by }) {
      if (!Object.hasOwn(held, by)) return [];
      return GivenBack.event({ mark, n: 0, of: 1, by, amount: held[by] as number, before: balance });
    },
  })
  .command("settle", {
    body: Type.Object({ ...asked, by: Type.String() }),
    id: (body) => body.account,
    decide({ balance, held }, { mark, by }) {
      const gone = Object.hasOwn(held, by) ? (held[by] as number) : reject("Nothing is held", { balance });
      return Settled.event({ mark, n: 0, of: 1, by, amount: gone, before: balance });
    },
  });

function without(held: Record<string, number>, by: string): Record<string, number> {
  const { [by]: _, ...rest } = held;
  return rest;
}

function total(balance: number, held: Record<string, number>): number {
  return Object.values(held).reduce((sum, one) => sum + one, balance);
}

const StepTold = Type.Object({ sagaId: Type.String(), step: Type.String(), isUndone: Type.Boolean() });
/** By a command of the step. */
const EffectMade = defineEvent("EffectMade", StepTold);
/** Emitted with the record of the step. */
const StepRecorded = defineEvent("StepRecorded", StepTold);

const makeEffect = defineCommand("make-effect", {
  body: StepTold,
  handle: (body, { workflow }) => workflow.emit("effects", EffectMade.event(body)),
});

const stepName = Type.Union([Type.Literal("none"), Type.Literal("hold"), Type.Literal("pack"), Type.Literal("ship")]);
const Errand = Type.Object({
  mark: Type.String(),
  account: Type.String(),
  amount,
  /** The step that fails, once it has had its effect. */
  fails: stepName,
  how: Type.Union([Type.Literal("once"), Type.Literal("throws"), Type.Literal("rejects")]),
  /** The step whose compensation fails for good. */
  staysUndone: stepName,
  restMs: Type.Integer(),
});

type ErrandData = { fails: string; how: string; staysUndone: string; restMs: number };

/** What every step does besides: an effect by a command and one by the record, and then it fails if it is to. */
async function does(data: ErrandData, context: SagaContext, isUndone: boolean): Promise<void> {
  const { run, emit, step, sagaId, attempt } = context;
  const told = { sagaId, step, isUndone };
  if (isUndone && data.staysUndone === step) reject("It was to stay undone");
  await run(makeEffect, told);
  emit("step-records", StepRecorded.event(told));
  if (data.restMs > 0) await sleep(data.restMs);
  if (isUndone || data.fails !== step || (data.how === "once" && attempt > 1)) return;
  if (data.how === "rejects") reject("It was to be refused");
  throw new Error("It was to fail");
}

// Patient compensations: what keeps a saga from being compensated is to be its plan, not a database that was away.
const compensateRetry = { attempts: 100, initial: "50ms", max: "500ms" };
const retry = { attempts: 3, initial: "50ms", max: "500ms" };
const markOf = ({ sagaId, step }: SagaContext, isUndone = false) =>
  `saga ${sagaId} ${step}${isUndone ? " undone" : ""}`;

/** Each step may fail, and may stay undone, as its data say. */
export const errand = defineSaga("errand", { data: Errand })
  .step("hold", {
    async execute(data, context) {
      const { account: of, amount: wanted } = data;
      await context.run(account, "hold", { account: of, mark: markOf(context), by: context.sagaId, amount: wanted });
      await does(data, context, false);
    },
    async compensate(data, context) {
      await does(data, context, true);
      const mark = markOf(context, true);
      await context.run(account, "give-back", { account: data.account, mark, by: context.sagaId });
    },
    ...{ retry, compensateRetry },
  })
  .step("pack", {
    execute: (data, context) => does(data, context, false),
    compensate: (data, context) => does(data, context, true),
    ...{ retry, compensateRetry },
  })
  .sleep("nap", { for: "40ms" })
  .step("ship", {
    execute: (data, context) => does(data, context, false),
    compensate: (data, context) => does(data, context, true),
    ...{ retry, compensateRetry },
  })
  .step("settle", {
    async execute(data, context) {
      const mark = markOf(context);
      await context.run(account, "settle", { account: data.account, mark, by: context.sagaId });
      await does(data, context, false);
    },
    retry,
  });

const Confirmed = defineEvent("Confirmed", Type.Object({ mark: Type.String() }));

/** Waits for an event that does not always come. */
export const parley = defineSaga("parley", {
  data: Type.Object({ mark: Type.String(), account: Type.String(), amount, confirmed: Type.Optional(Type.String()) }),
})
  .step("hold", {
    async execute(data, context) {
      const { account: of, amount: wanted } = data;
      await context.run(account, "hold", { account: of, mark: markOf(context), by: context.sagaId, amount: wanted });
    },
    async compensate(data, context) {
      const mark = markOf(context, true);
      await context.run(account, "give-back", { account: data.account, mark, by: context.sagaId });
    },
    ...{ retry, compensateRetry },
  })
  .waitFor("confirmation", Confirmed, { timeout: "2s", take: ({ mark }) => ({ confirmed: mark }) })
  .step("settle", {
    async execute(data, context) {
      const mark = markOf(context);
      await context.run(account, "settle", { account: data.account, mark, by: context.sagaId });
    },
    retry,
  });

/** A sum that depends on which events there were, and in which order. */
export const checksum = (before: number, position: number) => (before * 31 + position + 1) % 1_000_003;

const streamTally = defineProjection("stream-tally", {
  row: Type.Object({
    stream: Type.String(),
    events: Type.Integer(),
    lastOffset: Type.Integer(),
    checksum: Type.Integer(),
  }),
  key: "stream",
}).onAny({
  key: (_, { stream }) => stream,
  apply: (row, _, { stream, offset, position }) => ({
    stream,
    events: (row?.events ?? 0) + 1,
    lastOffset: offset,
    checksum: checksum(row?.checksum ?? 0, position),
  }),
});

const typeTally = defineSqlProjection("type-tally", {
  batchSize: 50,
  tables: (sql) =>
    sql`create table types (type text collate "C" primary key, events bigint not null, checksum bigint not null)`,
})
  .onAny(async (sql, _, { type, position }) => {
    await sql`
      insert into types values (${type}, 1, ${checksum(0, position)})
      on conflict (type) do update
        set events = types.events + 1, checksum = (types.checksum * 31 + ${position}::bigint + 1) % 1000003`;
  })
  .read(Type.Object({}), async ({ sql, position }) => {
    const rows = await sql<Record<"type" | "events" | "checksum", string>[]>`select * from types order by type`;
    return { position: String(position), rows };
  });

export default defineModule({
  name: "processes",
  events: [Noted, Deposited, Withdrawn, Held, GivenBack, Settled, EffectMade, StepRecorded, Confirmed],
  commands: [note, makeEffect],
  deciders: [account],
  projections: [streamTally, typeTally],
  sagas: [errand, parley],
});
