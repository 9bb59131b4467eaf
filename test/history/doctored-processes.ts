// A small run of processes written by hand, which is right; tests break one thing of it and see whether the checks find that.
import { checkProcesses } from "../crash/check/processes.ts";
import type { Entry } from "../crash/history.ts";
import type { CommandAnswered, ModelRead, Plan } from "../crash/process-history.ts";
import { checksum } from "../crash/process-module.ts";
import type { ProcessEvent, ProcessSnapshot, SagaSeen } from "../crash/process-snapshot.ts";

export type Run = { history: Entry[]; snapshot: ProcessSnapshot };

/** What the checks find, but for what a run so small has not seen. */
export function violationsOf({ history, snapshot }: Run): string[] {
  return checkProcesses(history, snapshot).filter((violation) => !violation.startsWith("[nothing was proved]"));
}

type Happening = { stream: string; type: string; data: Record<string, unknown>; key?: string; correlation?: string };

/** A log of these events, with positions and offsets as they come. */
function logOf(happenings: readonly Happening[]): ProcessEvent[] {
  const offsets = new Map<string, number>();
  return happenings.map(({ stream, type, data, key = null, correlation = null }, position) => {
    const offset = offsets.get(stream) ?? 0;
    offsets.set(stream, offset + 1);
    const id = `id-${position}`;
    return {
      ...{ position, stream, offset, id, type, correlationId: correlation, partitionKey: key },
      ...{ recordedAt: position * 1_000, data },
    };
  });
}

/** A request of a command, and its answer as the log says it. */
export function command(
  events: readonly ProcessEvent[],
  mark: string,
  at: number,
  given: Partial<CommandAnswered> & { of?: number; isRefused?: boolean; decidedOn?: string | null } = {},
): Entry[] {
  const { of, isRefused = false, decidedOn = null, ...answered } = given;
  const own = events.filter(({ data }) => data.mark === mark && data.of !== undefined);
  return [
    {
      ...{ kind: "command-invoked", op: at, at, mark, command: "note", of: of ?? Number(own[0]?.data.of) },
      ...{ isRefused, decidedOn },
    },
    {
      ...{ kind: "command-answered", op: at, at: at + 1, outcome: "acknowledged", status: 201, reason: null },
      ...{ answer: `201 ${mark}`, nonce: (own[0]?.data.nonce as string | undefined) ?? null, balance: null },
      events: own.map(({ stream, offset, id }) => ({ stream, offset, id })),
      ...answered,
    },
  ];
}

/** A read model as it must be at a position. */
export function read(events: readonly ProcessEvent[], position: number, at: number): ModelRead {
  const rows = new Map<string, ModelRead["rows"][number]>();
  for (const event of events.slice(0, position + 1)) {
    const row = rows.get(event.stream) ?? { key: event.stream, events: 0, checksum: 0 };
    row.events++;
    row.checksum = checksum(row.checksum, event.position);
    rows.set(event.stream, row);
  }
  const times = { invokedAt: at, at: at + 1 };
  return { kind: "model-read", ...times, projection: "stream-tally", position, rows: [...rows.values()] };
}

export const told = (of: string, saga: "errand" | "parley", what: string, more: Record<string, unknown> = {}) => ({
  ...{ stream: `saga-${saga}`, type: `sluice.saga-${what}`, key: of, correlation: `mark-${of}` },
  data: { sagaId: of, ...more },
});

const effect = (sagaId: string, step: string, isUndone = false) => ({
  ...{ stream: "effects", type: "EffectMade", data: { sagaId, step, isUndone } },
});
const emitted = (sagaId: string, step: string, isUndone = false) => ({
  ...{ stream: "step-records", type: "StepRecorded", data: { sagaId, step, isUndone } },
});
const moved = (type: string, mark: string, amount: number, before: number, by?: string) => ({
  ...{ stream: "account-a", type, data: { mark, n: 0, of: 1, amount, before, ...(by === undefined ? {} : { by }) } },
});

/** One that ships in vain, and is undone. */
function undoneErrand(id: string): Happening[] {
  const step = (name: string, n: number) => [
    effect(id, name),
    emitted(id, name),
    told(id, "errand", "step-completed", { step: name, progress: `${n}/5` }),
  ];
  return [
    told(id, "errand", "started"),
    moved("Held", `saga ${id} hold`, 10, 100, id),
    ...step("hold", 1),
    ...step("pack", 2),
    told(id, "errand", "step-waiting", { step: "nap" }),
    told(id, "errand", "step-completed", { step: "nap", progress: "3/5" }),
    effect(id, "ship"),
    told(id, "errand", "step-failed", { step: "ship", attempt: 1 }),
    told(id, "errand", "compensating"),
    effect(id, "pack", true),
    emitted(id, "pack", true),
    told(id, "errand", "step-compensated", { step: "pack" }),
    effect(id, "hold", true),
    moved("GivenBack", `saga ${id} hold undone`, 10, 90, id),
    emitted(id, "hold", true),
    told(id, "errand", "step-compensated", { step: "hold" }),
    told(id, "errand", "compensated"),
  ];
}

const errandSeen: SagaSeen = {
  ...{ sagaId: "e", saga: "errand", correlationId: "mark-e", state: "Compensated", data: { mark: "mark-e" } },
  ...{ completedSteps: ["hold", "pack", "nap"], compensatedSteps: ["pack", "hold"] },
};
const parleySeen: SagaSeen = {
  ...{ sagaId: "p", saga: "parley", correlationId: "mark-p", state: "Completed" },
  ...{ completedSteps: ["hold", "confirmation", "settle"], compensatedSteps: [] },
  data: { mark: "mark-p", confirmed: "mark-p" },
};

/** One that waits for its confirmation, and has it. */
const parleyTold: Happening[] = [
  told("p", "parley", "started"),
  moved("Held", "saga p hold", 20, 100, "p"),
  told("p", "parley", "step-completed", { step: "hold", progress: "1/3" }),
  told("p", "parley", "step-waiting", { step: "confirmation", until: new Date(1e9).toISOString() }),
  { stream: "confirmations", type: "Confirmed", correlation: "mark-p", data: { mark: "mark-p" } },
  told("p", "parley", "step-completed", { step: "confirmation", progress: "2/3" }),
  moved("Settled", "saga p settle", 20, 80, "p"),
  told("p", "parley", "step-completed", { step: "settle", progress: "3/3" }),
  told("p", "parley", "completed"),
];

const noted = (stream: string, n: number) => ({
  ...{ stream, type: "Noted", data: { mark: "two", n, of: 3, nonce: "x" } },
});
const written = (stream: string, mark: string) => ({ stream, type: "Written", data: { mark } });

const happenings: Happening[] = [
  noted("notes-0", 0),
  noted("notes-1", 1),
  noted("notes-0", 2),
  moved("Deposited", "deposit", 100, 0),
  ...undoneErrand("e"),
  ...parleyTold,
  moved("Withdrawn", "withdrawal", 30, 80),
  written("outbox-0", "w-0/0"),
  written("outbox-1", "w-0/1"),
  written("outbox-0", "w-1/0"),
];

const started = (sagaId: string, saga: string, op: number, plan: Plan): Entry[] => [
  { kind: "saga-starting", op, at: op, mark: `mark-${sagaId}`, saga, plan },
  {
    ...{ kind: "saga-started", op, at: op + 1, outcome: "acknowledged", status: 202, reason: null, sagaId },
  },
];

const transaction = (tx: number, marks: string[], outcome: "committed" | "rolled-back" = "committed"): Entry[] => [
  {
    ...{ kind: "outbox-writing", tx, at: 200 + tx * 10, writer: "w" },
    rows: marks.map((mark) => ({
      mark,
      stream: mark === "w-0/1" ? "outbox-1" : "outbox-0",
      isDoomed: mark === "w-3/0",
    })),
  },
  { kind: "outbox-written", tx, at: 205 + tx * 10, outcome },
];

/** The run, in which everything is right. */
export function rightRun(changed: Happening[] = happenings): Run {
  const events = logOf(changed);
  const last = events.length - 1;
  const refused = { outcome: "refused", status: 409, reason: "command-rejected", answer: null } as const;
  const history: Entry[] = [
    ...command(events, "two", 1),
    ...command(events, "two", 5),
    ...command(events, "deposit", 10),
    ...command(events, "withdrawal", 100),
    ...command(events, "too-much", 20, { ...refused, events: [], of: 1, decidedOn: "account-a", balance: 80 }),
    ...command(events, "no", 30, { ...refused, events: [], of: 2, isRefused: true }),
    ...started("e", "errand", 40, { fails: "ship", how: "rejects", staysUndone: "none" }),
    ...started("p", "parley", 50, { fails: "none", how: "once", staysUndone: "none" }),
    ...transaction(0, ["w-0/0", "w-0/1"]),
    ...transaction(1, ["w-1/0", "w-0/0"]),
    ...transaction(2, ["w-2/0"], "rolled-back"),
    ...transaction(3, ["w-3/0"]),
    read(events, 5, 300),
    read(events, last, 310),
  ];
  const snapshot: ProcessSnapshot = {
    ...{ events, defects: [], sagas: [structuredClone(errandSeen), structuredClone(parleySeen)] },
    models: [
      {
        ...{ projection: "stream-tally", state: "running", position: last, head: last, lag: 0 },
        eventsProcessed: events.length,
      },
    ],
    written: ["w-0/0", "w-0/1", "w-1/0", "w-0/0", "w-3/0"],
    waiting: [{ mark: "w-3/0", failure: "no such attribute" }],
  };
  return { history, snapshot };
}

/** The run whose log was made by hand a second time: without some events, with others, or in another order. */
export function runWith(change: (happenings: Happening[]) => Happening[]): Run {
  return rightRun(change(structuredClone(happenings)));
}
