// Projections that fold: rows are what their events make of them, and they can be read by SQL.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { defineEvent, defineProjection, Type } from "../../../src/workflow/index.ts";
import { createProjectionRig, type ProjectionRig } from "../../support/projections.ts";
import { until } from "../../support/until.ts";

let rig: ProjectionRig;
beforeAll(async () => {
  rig = await createProjectionRig();
});
afterAll(() => rig.stop());

const Placed = defineEvent("Placed", Type.Object({ id: Type.String(), country: Type.String(), cents: Type.Integer() }));
const Cancelled = defineEvent("Cancelled", Type.Object({ id: Type.String() }));

const byCountry = () =>
  defineProjection("by-country", {
    streams: ["orders"],
    row: Type.Object({ country: Type.String(), orders: Type.Integer(), cents: Type.Integer() }),
    key: "country",
    initial: { orders: 0, cents: 0 },
  }).on(Placed, {
    key: ({ country }) => country,
    apply: (row, { cents }) => ({ ...row, orders: row.orders + 1, cents: row.cents + cents }),
  });

const placed = (id: string, country: string, cents = 100) => Placed.event({ id, country, cents });

test("rows are what their events make of them, batch after batch, before and after a restart", async () => {
  const process = await rig.start([byCountry()]);
  await process.append("orders", placed("1", "DE"), placed("2", "FR"), placed("3", "DE", 50));
  await process.append("elsewhere", placed("4", "DE"));
  await process.reached("by-country", await process.append("orders", placed("5", "FR", 7)));
  expect(await rig.rows("by_country")).toEqual([
    { country: "DE", orders: "2", cents: "150" },
    { country: "FR", orders: "2", cents: "107" },
  ]);
  await process.stop();
  const again = await rig.start([byCountry()]);
  await again.reached("by-country", await again.append("orders", placed("6", "DE", 1)));
  expect(await rig.rows("by_country")).toEqual([
    { country: "DE", orders: "3", cents: "151" },
    { country: "FR", orders: "2", cents: "107" },
  ]);
  const [live] = await again.generations("by-country");
  expect(live).toMatchObject({ generation: 1, role: "live", events: 5, failures: 0 });
  await again.stop();
});

test("a fold is told the key that it is applied to, also where there is no row, and all parts of it", async () => {
  const Split = defineEvent("Split", Type.Object({ shares: Type.Record(Type.String(), Type.Integer()) }));
  const row = Type.Object({ country: Type.String(), cents: Type.Integer() });
  const shares = defineProjection("shares", { row, key: "country" }).on(Split, {
    key: (split) => Object.keys(split.shares),
    apply: (before, split, _, country) => ({ country, cents: (before?.cents ?? 0) + (split.shares[country] ?? 0) }),
  });
  const pairs = defineProjection("pairs", {
    row: Type.Object({ country: Type.String(), n: Type.Integer() }),
    key: ["country", "n"],
  }).on(Split, {
    key: (split) => Object.keys(split.shares).map((country) => ({ country, n: split.shares[country] ?? 0 })),
    apply: (_row, _split, _event, { country, n }) => ({ country, n }),
  });
  const process = await rig.start([shares, pairs]);
  await process.append("splits", Split.event({ shares: { DE: 5, FR: 7 } }));
  const last = await process.append("splits", Split.event({ shares: { DE: 1, ES: 2 } }));
  for (const name of ["shares", "pairs"]) await process.reached(name, last);
  expect(await rig.rows("shares")).toEqual([
    { country: "DE", cents: "6" },
    { country: "ES", cents: "2" },
    { country: "FR", cents: "7" },
  ]);
  expect(await rig.rows("pairs")).toHaveLength(4);
  await process.stop();
});

test("an event changes one row, several or none; a row that is given up is gone, also within a batch", async () => {
  const orders = defineProjection("orders", {
    row: Type.Object({
      id: Type.String(),
      country: Type.String(),
      cents: Type.Number(),
      tags: Type.Array(Type.String()),
      note: Type.Optional(Type.String()),
      parent: Type.Union([Type.String(), Type.Null()]),
      gift: Type.Boolean(),
    }),
    key: "id",
    batchSize: 3,
  })
    .on(Placed, {
      key: ({ id }) => (id === "none" ? null : id === "both" ? ["a", "b", "a"] : id),
      apply: (row, { id, country, cents }) => ({
        id: row?.id ?? id,
        country,
        cents: cents / 3 + (row?.cents ?? 0),
        tags: [...(row?.tags ?? []), country],
        parent: null,
        gift: row !== null,
        ...(row === null ? {} : { note: `again in ${country}` }),
      }),
    })
    .on(Cancelled, { key: ({ id }) => id, apply: () => null });
  const process = await rig.start([orders]);
  const last = await process.append(
    "shop",
    placed("a", "DE", 1),
    placed("b", "FR", 2),
    placed("none", "FR"),
    placed("both", "ES", 4),
    Cancelled.event({ id: "b" }),
    Cancelled.event({ id: "never" }),
    placed("c", "IT"),
    Cancelled.event({ id: "c" }),
    placed("c", "PT", 3),
  );
  await process.reached("orders", last);
  const shop = await rig.sql`select * from event_streaming_read.orders where id in ('a', 'b', 'c') order by id`;
  expect([...shop].map((row) => ({ ...row }))).toEqual([
    { id: "a", country: "ES", cents: 1 / 3 + 4 / 3, tags: ["DE", "ES"], note: "again in ES", parent: null, gift: true },
    { id: "c", country: "PT", cents: 1, tags: ["PT"], note: null, parent: null, gift: false },
  ]);
  await process.stop();
});

test("several keys make a row each combination; other types may be folded too", async () => {
  const daily = defineProjection("daily", {
    streams: ["mixed"],
    row: Type.Object({ type: Type.String(), even: Type.Boolean(), n: Type.Integer() }),
    key: ["type", "even"],
    initial: { n: 0 },
  })
    .on(Placed, {
      key: ({ cents }, { type }) => ({ type, even: cents % 2 === 0 }),
      apply: (row) => ({ ...row, n: row.n + 1 }),
    })
    .onAny({ key: (_data, { type }) => ({ type, even: false }), apply: (row) => ({ ...row, n: row.n + 100 }) });
  const process = await rig.start([daily]);
  const last = await process.append(
    "mixed",
    placed("1", "DE", 1),
    placed("2", "DE", 2),
    placed("3", "DE", 4),
    Cancelled.event({ id: "1" }),
  );
  await process.reached("daily", last);
  expect(await rig.rows("daily", "1, 2")).toEqual([
    { type: "Cancelled", even: false, n: "100" },
    { type: "Placed", even: false, n: "1" },
    { type: "Placed", even: true, n: "2" },
  ]);
  await process.stop();
});

test("events of others move the checkpoint, and are not handled", async () => {
  const process = await rig.start([byCountry()]);
  const [before] = await process.generations("by-country");
  let last = -1;
  for (let n = 0; n < 20; n++) last = await process.append("elsewhere", Cancelled.event({ id: "x" }));
  await process.reached("by-country", last);
  const [after] = await process.generations("by-country");
  expect(after?.events).toBe(before?.events as number);
  await process.stop();
});

test("two processes share the work so that one runs each projection, and the other takes over", async () => {
  const a = await rig.start([byCountry()], { leaseMs: 600 });
  const b = await rig.start([byCountry()], { leaseMs: 600 });
  const count = async () => (await rig.rows("by_country")).find(({ country }) => country === "XX")?.orders;
  for (let n = 0; n < 30; n++) await a.append("orders", placed(`x${n}`, "XX"));
  await until("all are counted", async () => (await count()) === "30");
  expect(a.projections.counters().get("by-country")?.events).toBe(30);
  expect(b.projections.counters().get("by-country")?.events).toBe(0);
  await a.stop();
  for (let n = 0; n < 5; n++) await b.append("orders", placed(`x${n}`, "XX"));
  await until("the other one counts on", async () => (await count()) === "35");
  expect(b.projections.counters().get("by-country")?.events).toBe(5);
  await b.stop();
});
