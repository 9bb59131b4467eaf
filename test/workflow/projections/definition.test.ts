// Definitions of projections: types flow from the schemas, and what cannot be a projection is refused where it is written.
import { expect, test } from "bun:test";
import { defineEvent, defineProjection, defineSqlProjection, Type } from "../../../src/workflow/index.ts";

const Placed = defineEvent("Placed", Type.Object({ country: Type.String(), cents: Type.Integer() }));
const Sent = defineEvent("Sent", Type.Object({ id: Type.String() }));

test("handlers of a fold are typed by the schema of the rows, its key and the event", () => {
  const counted = defineProjection("by-country", {
    row: Type.Object({
      country: Type.String(),
      orders: Type.Integer(),
      state: Type.Union([Type.Literal("open"), Type.Literal("closed")]),
      tags: Type.Array(Type.String()),
    }),
    key: "country",
    initial: { orders: 0, state: "open", tags: [] },
  })
    .on(Placed, {
      key: ({ country }) => country,
      apply: (row) => ({ ...row, orders: row.orders + 1, state: "closed" }),
    })
    .read(Type.Object({ country: Type.String() }), async (model, { country }) => {
      const row = await model.get(country);
      return { orders: row?.orders ?? 0 };
    });
  counted.on(Sent, { key: () => null, apply: () => null });
  // @ts-expect-error there is no such property
  counted.on(Sent, { key: ({ country }) => country, apply: (row) => row });
  // @ts-expect-error a row needs all its properties
  counted.on(Sent, { key: () => ["a", "b"], apply: ({ country }) => ({ country }) });
  counted.on(Sent, { key: ({ id }) => [id, "all"], apply: (row, _, __, key) => (key.length > 3 ? row : null) });
  // @ts-expect-error the key that it is applied to is a text
  counted.on(Sent, { key: () => "a", apply: (row, _, __, key) => (key > 3 ? row : null) });
  // @ts-expect-error the key is a text
  counted.on(Sent, { key: () => 1, apply: (row) => row });
  expect([counted.folds.length, counted.keys, counted.columns.map(({ type }) => type)]).toEqual([
    1,
    ["country"],
    ["text", "bigint", "text", "jsonb"],
  ]);
});

test("without an initial row, handlers are told that there is none; several keys are an object", () => {
  const daily = defineProjection("daily", {
    row: Type.Object({
      country: Type.String(),
      day: Type.String(),
      cents: Type.Number(),
      note: Type.Optional(Type.String()),
    }),
    key: ["country", "day"],
  }).on(Placed, {
    key: ({ country }, { recordedTime }) => ({ country, day: recordedTime.slice(0, 10) }),
    apply: (row, { country, cents }) => ({ country, day: row?.day ?? "", cents: cents + (row?.cents ?? 0) }),
  });
  // @ts-expect-error it may be null
  daily.on(Sent, { key: () => null, apply: (row) => ({ ...row, cents: row.cents }) });
  // @ts-expect-error the key has two properties
  daily.on(Sent, { key: () => "DE", apply: (row) => row });
  expect(daily.keys).toEqual(["country", "day"]);
  const row = Type.Object({ id: Type.String(), n: Type.Integer() });
  // @ts-expect-error n is a number
  defineProjection("wrong", { row, key: "id", initial: { n: "1" } });
  // @ts-expect-error it has no such property
  expect(() => defineProjection("wrong", { row, key: "other" })).toThrow(/the row has no property other/);
});

test("handlers in SQL are typed by their events, several by the type of each", () => {
  const ledger = defineSqlProjection("ledger", { tables: (sql) => sql`create table t (id text primary key)` })
    .onBatch([Placed, Sent], async (sql, events) => {
      for (const one of events) {
        if (one.type === "Sent") await sql`insert into t values (${one.data.id})`;
        else await sql`insert into t values (${one.data.country})`;
        // @ts-expect-error only one of them has it
        one.data.cents;
      }
    })
    .onAny(async (_sql, data) => {
      // @ts-expect-error nothing is known of it
      data.id;
    });
  expect(() => ledger.on(Sent, () => null)).toThrow("projection ledger says twice what Sent does");
});

test("what cannot be a projection is refused with a plain sentence", () => {
  const row = Type.Object({ id: Type.String(), n: Type.Integer() });
  const fold = (options: object) => () => defineProjection("p", { row, key: "id", ...options });
  const wrong: [() => unknown, RegExp][] = [
    [() => defineProjection("P 1", { row, key: "id" }), /^a projection is named by 1 to 63 lower-case letters/],
    [fold({ version: 0 }), /^projection p: version must be a whole number from 1/],
    [fold({ batchSize: 0 }), /^projection p: batchSize must be a whole number from 1 to 10000, not 0$/],
    [fold({ snapshotEvery: -1 }), /^projection p: snapshotEvery must be/],
    [fold({ streams: [] }), /^projection p: streams is empty/],
    [fold({ retry: { attempts: 0 } }), /^projection p: retry.attempts must be/],
    [fold({ retry: { factor: 0.5 } }), /^projection p: retry.factor must be/],
    [fold({ retry: { initial: "soon" } }), /^projection p: retry.initial must be a duration/],
    [fold({ key: [] }), /^projection p: key names one of the row's properties/],
    [fold({ row: Type.Object({}) }), /^projection p: row must be an object with 1 to 500 properties$/],
    [
      fold({ row: Type.Object({ id: Type.Optional(Type.String()) }) }),
      /^projection p: the key id must be a string, an integer or a boolean that is always there$/,
    ],
    [fold({ row: Type.Object({ id: Type.Number() }) }), /^projection p: the key id must be a string, an integer/],
    [
      fold({ row: Type.Object({ id: Type.String(), a: Type.Optional(Type.Union([Type.String(), Type.Null()])) }) }),
      /^projection p: a is optional and may be null/,
    ],
    [fold({ row: Type.Object({ id: Type.String(), ["x".repeat(64)]: Type.String() }) }), /is no name of a column/],
    [
      () => defineSqlProjection("p", { tables: () => null, timeout: "2m" }),
      /^projection p: timeout must be a duration/,
    ],
  ];
  for (const [define, message] of wrong) expect(define).toThrow(message);
});

test("columns hold what their properties hold", () => {
  const row = Type.Object({
    id: Type.Integer(),
    text: Type.String(),
    state: Type.Union([Type.Literal("a"), Type.Literal("b")]),
    maybe: Type.Union([Type.Integer(), Type.Null()]),
    either: Type.Union([Type.Integer(), Type.Number()]),
    mixed: Type.Union([Type.Integer(), Type.String()]),
    one: Type.Literal(1),
    flag: Type.Boolean(),
    list: Type.Array(Type.String()),
    any: Type.Unknown(),
    later: Type.Optional(Type.Number()),
  });
  const { columns } = defineProjection("p", { row, key: "id" });
  expect(columns.map(({ name, type, presence }) => `${name} ${type} ${presence}`)).toEqual([
    "id bigint required",
    "text text required",
    "state text required",
    "maybe bigint nullable",
    "either double precision required",
    "mixed jsonb required",
    "one bigint required",
    "flag boolean required",
    "list jsonb required",
    "any jsonb nullable",
    "later double precision optional",
  ]);
});
