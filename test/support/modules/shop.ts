// A module for tests: orders, and projections of them that count, list, keep a ledger in SQL, and fail when they are told to.
import {
  defineEvent,
  defineModule,
  defineProjection,
  defineSqlProjection,
  reject,
  Type,
} from "../../../src/workflow/index.ts";

export const Placed = defineEvent(
  "OrderPlaced",
  Type.Object({ id: Type.String(), country: Type.String(), cents: Type.Integer() }),
);
export const Cancelled = defineEvent("OrderCancelled", Type.Object({ id: Type.String() }));

/** What the tests of one process switch. */
export const switches = { failing: false, slow: false };

const byCountry = defineProjection("orders-by-country", {
  description: "Orders and their sums, by country",
  streams: ["orders"],
  row: Type.Object({ country: Type.String(), orders: Type.Integer(), cents: Type.Integer() }),
  key: "country",
  initial: { orders: 0, cents: 0 },
  retry: { attempts: 2, initial: "1ms" },
}).on(Placed, {
  key: ({ country }) => country,
  apply(row, { cents }) {
    if (switches.failing && cents < 0) throw new Error("nobody pays less than nothing");
    return { ...row, orders: row.orders + 1, cents: row.cents + cents };
  },
});

const byNumber = defineProjection("orders-by-number", {
  streams: ["orders"],
  row: Type.Object({ country: Type.String(), n: Type.Integer(), note: Type.Optional(Type.String()) }),
  key: ["country", "n"],
}).on(Placed, {
  key: ({ country, cents }) => ({ country, n: cents }),
  apply: (_row, { country, cents }) => ({ country, n: cents }),
});

const totals = defineProjection("order-totals", {
  streams: ["orders"],
  row: Type.Object({ country: Type.String(), orders: Type.Integer() }),
  key: "country",
  initial: { orders: 0 },
})
  .on(Placed, { key: ({ country }) => country, apply: (row) => ({ ...row, orders: row.orders + 1 }) })
  .read(
    Type.Object({
      country: Type.Optional(Type.String({ pattern: "^[A-Z]{2}$" })),
      least: Type.Integer({ default: 0, minimum: 0 }),
      how: Type.Optional(Type.String()),
    }),
    async (model, { country, least, how }) => {
      if (how === "throws") throw new Error("not today");
      if (how === "rejects") reject("there is no such thing");
      if (how === "writes") await model.sql`delete from rows`;
      if (how === "hangs") await new Promise(() => {});
      if (country !== undefined) return (await model.get(country)) ?? undefined;
      const [sum] = await model.sql<
        { n: string }[]
      >`select coalesce(sum(orders), 0) as n from rows where orders >= ${least}`;
      return { total: Number(sum?.n), countries: (await model.page()).length };
    },
  );

const ledger = defineSqlProjection("ledger", {
  streams: ["orders"],
  tables: (sql) =>
    sql`create table entries (id bigint generated always as identity primary key, cents bigint not null)`,
}).on(Placed, async (sql, { cents }) => {
  await sql`insert into entries (cents) values (${cents})`;
});

export default defineModule({
  name: "shop",
  events: [Placed, Cancelled],
  projections: [byCountry, byNumber, totals, ledger],
});
