// Whatever happens to the processes and their connections: a read model equals a fold over the log up to its checkpoint.
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import type { Pool } from "../../../src/storage/pool.ts";
import { defineEvent, defineProjection, defineSqlProjection, Type } from "../../../src/workflow/index.ts";
import { createProjectionRig, type ProjectionProcess, type ProjectionRig } from "../../support/projections.ts";
import { until } from "../../support/until.ts";

let rig: ProjectionRig;
beforeAll(async () => {
  rig = await createProjectionRig();
});
afterAll(() => rig.stop());

const Added = defineEvent("Added", Type.Object({ key: Type.String(), n: Type.Integer() }));
type Data = { key: string; n: number };
type Row = { key: string; events: number; hash: number };

/** Tells apart what came in another order, twice, or not at all. */
const fold = (row: Row, { n }: Data): Row | null =>
  n === 0 ? null : { ...row, events: row.events + 1, hash: (row.hash * 31 + n) % 1_000_003 };

const folded = (name: string, batchSize: number) =>
  defineProjection(`${name}-folded`, {
    streams: [name],
    row: Type.Object({ key: Type.String(), events: Type.Integer(), hash: Type.Integer() }),
    key: "key",
    initial: { events: 0, hash: 7 },
    batchSize,
  }).on(Added, { key: ({ key }) => key, apply: fold });

const written = (name: string, batchSize: number) =>
  defineSqlProjection(`${name}-written`, {
    streams: [name],
    batchSize,
    tables: (sql) =>
      sql`create table rows (key text primary key, events bigint not null default 0, hash bigint not null default 7)`,
  }).on(Added, async (sql, { key, n }) => {
    if (n === 0) await sql`delete from rows where key = ${key}`;
    else
      await sql`
        insert into rows values (${key}, 1, (7 * 31 + ${n}) % 1000003) on conflict (key)
        do update set events = rows.events + 1, hash = (rows.hash * 31 + ${n}) % 1000003`;
  });

/** A pool whose next tasks fail: before they do anything, or with their answers lost; or that is not there any more. */
function faulty(pool: Pool) {
  const state = { before: 0, behind: 0, gone: false };
  const closed = () => Object.assign(new Error("write CONNECTION_CLOSED"), { code: "CONNECTION_CLOSED" });
  const through: Pool = {
    async run(task, signal) {
      if (state.gone) throw closed();
      if (state.before > 0) {
        state.before--;
        throw closed();
      }
      const isLost = state.behind > 0;
      if (isLost) state.behind--;
      const result = await pool.run(task, signal);
      if (isLost || state.gone) throw closed();
      return result;
    },
    stop: pool.stop,
  };
  return { through, state };
}

type Node = { process: ProjectionProcess; faults: ReturnType<typeof faulty>["state"][] };

async function startNode(name: string, batchSize: number): Promise<Node> {
  const faults: Node["faults"] = [];
  const process = await rig.start([folded(name, batchSize), written(name, batchSize)], {
    leaseMs: 1_000,
    through(pool) {
      const { through, state } = faulty(pool);
      faults.push(state);
      return through;
    },
  });
  return { process, faults };
}

/** The rows of a projection and a fold over the log up to its checkpoint, of one moment; null before it has tables. */
async function compare(name: string, form: "folded" | "written") {
  return rig.sql.begin("isolation level repeatable read read only", async (sql) => {
    const [live] = await sql<{ schema_name: string; position: string }[]>`
      select schema_name, position from projection_generations where projection = ${`${name}-${form}`} and role = 'live'`;
    if (live === undefined) return null;
    const events = await sql<{ data: string }[]>`
      select e.data::text as data from events e join streams s on s.id = e.stream_id
      where s.name = ${name} and e.position <= ${live.position} order by e.position`;
    const rows = await sql.unsafe<Record<string, string>[]>(`select * from ${live.schema_name}.rows order by key`);
    const expected = new Map<string, Row>();
    for (const { data } of events) {
      const parsed = JSON.parse(data) as Data;
      const after = fold(expected.get(parsed.key) ?? { key: parsed.key, events: 0, hash: 7 }, parsed);
      if (after === null) expected.delete(parsed.key);
      else expected.set(parsed.key, after);
    }
    return {
      position: Number(live.position),
      rows: [...rows].map(({ key, events, hash }) => ({ key, events: Number(events), hash: Number(hash) })),
      expected: [...expected.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
    };
  });
}

const node = fc.nat(1);
const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("append" as const), node, count: fc.integer({ min: 1, max: 25 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("fail" as const), node, before: fc.nat(2), behind: fc.nat(2) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("lose" as const), form: fc.constantFrom("folded", "written") }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("kill" as const), node }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("rebuild" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pause" as const), paused: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("look" as const) }) },
);

let runs = 0;

test("a read model equals a fold over the log up to its checkpoint, whatever happens meanwhile", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 10, maxLength: 40 }),
      fc.integer({ min: 1, max: 12 }),
      async (operations, batchSize) => {
        const name = `run-${++runs}`;
        const names = [`${name}-folded`, `${name}-written`];
        const nodes = [await startNode(name, batchSize), await startNode(name, batchSize)];
        const dead: ProjectionProcess[] = [];
        const looked = async () => {
          for (const form of ["folded", "written"] as const) {
            const found = await compare(name, form);
            expect(found?.rows).toEqual(found?.expected);
          }
        };
        let n = 0;
        let last = -1;
        const tend = () => {
          for (const { process } of nodes) process.projections.tend();
        };
        for (const one of operations) {
          switch (one.kind) {
            case "append": {
              const events = Array.from({ length: one.count }, () => {
                n++;
                return Added.event({ key: `k${(n * 7) % 5}`, n: n % 11 === 0 ? 0 : n });
              });
              last = await (nodes[one.node] as Node).process.append(name, ...events);
              break;
            }
            case "fail":
              for (const state of (nodes[one.node] as Node).faults) {
                // More at once are an outage, which is waited out in ever longer pauses.
                state.before = Math.min(3, state.before + one.before);
                state.behind = Math.min(3, state.behind + one.behind);
              }
              break;
            case "lose":
              await rig.sql`
              update leases set owner = gen_random_uuid(), epoch = epoch + 1, until = '-infinity'
              where name = ${`projection:${name}-${one.form}`}`;
              break;
            case "kill": {
              const killed = nodes[one.node] as Node;
              for (const state of killed.faults) state.gone = true;
              dead.push(killed.process);
              // It goes on believing in its lease for as long as it lasts; what it had under way may still be written.
              nodes[one.node] = await startNode(name, batchSize);
              break;
            }
            case "rebuild":
              for (const projection of names) await rig.sql`select projection_rebuild(${projection}, 'beginning')`;
              tend();
              break;
            case "pause":
              for (const projection of names) await rig.sql`select projection_pause(${projection}, ${one.paused})`;
              tend();
              break;
            case "look":
              await looked();
              break;
            default:
              one satisfies never;
          }
        }
        for (const projection of names) await rig.sql`select projection_pause(${projection}, false)`;
        tend();
        await until("all is done", async () => {
          await looked();
          const found = await Promise.all([compare(name, "folded"), compare(name, "written")]);
          return found.every((one) => one !== null && one.position >= last);
        });
        for (const process of [...dead, ...nodes.map((one) => one.process)]) await process.stop();
      },
    ),
    { numRuns: Number(Bun.env.PROPERTY_RUNS ?? 6), endOnFailure: true },
  );
}, 600_000);
