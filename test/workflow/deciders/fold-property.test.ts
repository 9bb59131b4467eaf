// Whatever the order in which processes run commands, begin anew, forget and save snapshots: the state is the fold of all events.
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { Problem } from "../../../src/base/errors.ts";
import { deleteStream } from "../../../src/stream/streams.ts";
import type { Decided } from "../../../src/workflow/deciders/deciders.ts";
import { defineDecider, defineEvent, reject, Type } from "../../../src/workflow/index.ts";
import { type DeciderProcess, startDeciderProcess } from "../../support/decider-process.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { logDefects } from "../../support/sql.ts";

const Moved = defineEvent(
  "Moved",
  Type.Object({ by: Type.Integer(), to: Type.Integer(), at: Type.Array(Type.Integer()) }),
);
const State = Type.Object({ at: Type.Array(Type.Integer()) });
const Body = Type.Object({ id: Type.String(), by: Type.Integer(), times: Type.Integer() });

/** Its events tell the whole state that they were decided on, and where they lead to. */
const walker = (snapshotEvery: number) =>
  defineDecider("walker", { state: State, initialState: { at: [] }, snapshotEvery })
    .on(Moved, ({ at }, { to }) => ({ at: [...at, to] }))
    .command("move", {
      body: Body,
      result: State,
      id: ({ id }) => id,
      decide({ at }, { by, times }) {
        if ((at.at(-1) ?? 0) + by * times < 0) reject("below zero", { at });
        const path = [...at];
        const events = Array.from({ length: times }, () => {
          const to = (path.at(-1) ?? 0) + by;
          const event = Moved.event({ by, to, at: [...path] });
          path.push(to);
          return event;
        });
        return { events, result: { at: path } };
      },
    });

let databaseUrl: string;
beforeAll(async () => {
  databaseUrl = await createTestDatabase();
  const process = startDeciderProcess(databaseUrl, walker(0));
  await process.sql`select log_partition_add(false, 4000000)`;
  await process.stop();
});
const running = new Set<DeciderProcess>();
afterAll(async () => {
  for (const process of running) await process.stop();
});

const command = fc.record({
  kind: fc.constant("move" as const),
  process: fc.nat(1),
  by: fc.integer({ min: -3, max: 5 }),
  times: fc.nat(2),
});
const deletion = fc.record({ kind: fc.constant("delete" as const), process: fc.nat(1) });
const atOnce = fc.oneof({ weight: 20, arbitrary: command }, { weight: 1, arbitrary: deletion });
const step = fc.oneof(
  { weight: 8, arbitrary: fc.array(atOnce, { minLength: 1, maxLength: 12 }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), process: fc.nat(1) }) },
);
const settings = fc.record({ snapshotEvery: fc.constantFrom(0, 1, 3, 7), maxKept: fc.constantFrom(0, 10) });

type Answer = { decided: Decided } | { rejected: number[] };
let streams = 0;

test("the state of any process is the fold of all events, each of which was decided on the state right before it", async () => {
  await fc.assert(
    fc.asyncProperty(settings, fc.array(step, { minLength: 1, maxLength: 8 }), async (options, steps) => {
      const id = `s${++streams}`;
      const decider = walker(options.snapshotEvery);
      const start = () => {
        const process = startDeciderProcess(databaseUrl, decider, options);
        running.add(process);
        return process;
      };
      const processes = [start(), start()];
      const answers: Answer[] = [];
      const move = (process: DeciderProcess, by: number, times: number) =>
        process.run("move", { id, by, times }).then(
          (decided) => void answers.push({ decided }),
          (error: Error & { details?: { at: number[] } }) => {
            if (error.details !== undefined) answers.push({ rejected: error.details.at });
            else if (!(error instanceof Problem && error.code === "command-conflict")) throw error;
          },
        );
      const remove = (process: DeciderProcess) =>
        deleteStream(process.appends, `walker-${id}`, () => Promise.resolve()).then(
          () => {},
          (error: Problem) => expect(error.code).toBe("stream-not-found"),
        );
      for (const one of steps) {
        if (Array.isArray(one)) {
          const all = one.map((action) => {
            const process = processes[action.process] as DeciderProcess;
            return action.kind === "move" ? move(process, action.by, action.times) : remove(process);
          });
          await Promise.all(all);
        } else {
          const old = processes[one.process] as DeciderProcess;
          await old.stop();
          running.delete(old);
          processes[one.process] = start();
        }
      }
      const [{ sql }] = processes as [DeciderProcess];
      const rows = await sql<{ offset: string; data: string }[]>`
        select e."offset", e.data from events e join streams s on s.id = e.stream_id
        where s.name = ${`walker-${id}`} order by e."offset"`;
      const deletions = await sql<{ last: string }[]>`
        select data->>'to' as last from events
        where type = 'sluice.stream-deleted' and data->>'stream' = ${`walker-${id}`}`;
      const ends = new Set(deletions.map(({ last }) => Number(last)));
      // Each was decided on the fold of those before it in its life.
      const states = new Set<string>([""]);
      let state: number[] = [];
      for (const { offset, data } of rows) {
        const { to, at } = JSON.parse(data) as { to: number; at: number[] };
        expect(at).toEqual(state);
        state = [...at, to];
        states.add(state.join());
        if (ends.has(Number(offset))) state = [];
      }
      // Each that was stored was answered once, with its offset, and nothing else was stored.
      const stored = answers.flatMap((answer) => ("decided" in answer ? (answer.decided.appended?.events ?? []) : []));
      expect(stored.map(({ offset }) => offset).toSorted((a, b) => a - b)).toEqual(
        rows.map(({ offset }) => Number(offset)),
      );
      // What was refused was refused on a state that was there.
      for (const answer of answers) if ("rejected" in answer) expect(states).toContain(answer.rejected.join());
      for (const process of [...processes, start()]) {
        const { result } = await process.run("move", { id, by: 0, times: 0 });
        expect(result).toEqual({ at: state });
      }
      for (const process of [...running]) {
        await process.stop();
        running.delete(process);
      }
    }),
    { numRuns: 40 },
  );
  const process = startDeciderProcess(databaseUrl, walker(0));
  running.add(process);
  expect(await logDefects(process.sql)).toEqual([]);
}, 120_000);
