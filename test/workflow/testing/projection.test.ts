// Specifications of projections as modules write them: they hold, they fail where they should, and find what would fail in the service.
import { expect, test } from "bun:test";
import { defineEvent, defineProjection, Type } from "sluice";
import { given } from "sluice/testing";

const Lent = defineEvent("Lent", Type.Object({ book: Type.String() })).version(
  Type.Object({ book: Type.String(), reader: Type.String() }),
  { upcast: ({ book }) => ({ book, reader: "nobody" }) },
);
const LentOnce = defineEvent("Lent", Type.Object({ book: Type.String() }));
const Returned = defineEvent("Returned", Type.Object({ books: Type.Array(Type.String()) }));
const Burnt = defineEvent("Burnt", Type.Object({}));

const lent = defineProjection("lent", {
  streams: ["library"],
  row: Type.Object({ book: Type.String(), reader: Type.String(), since: Type.Optional(Type.String()) }),
  key: "book",
})
  .on(Lent, {
    key: ({ book }) => book,
    apply: (_, { book, reader }, { attributes }) => ({
      book,
      reader,
      ...(typeof attributes.time === "string" && { since: attributes.time }),
    }),
  })
  .on(Returned, { key: ({ books }) => books, apply: () => null });
const counted = defineProjection("counted", {
  row: Type.Object({ reader: Type.String(), day: Type.String(), books: Type.Integer() }),
  key: ["reader", "day"],
  initial: { books: 0 },
})
  .on(Lent, {
    key: ({ reader }, { recordedTime }) => ({ reader, day: recordedTime.slice(0, 10) }),
    apply: (row) => ({ ...row, books: row.books + 1 }),
  })
  .onAny({
    key: () => ({ reader: "all", day: "none" }),
    apply: (row, _, __, { reader }) => ({ ...row, reader, books: -1 }),
  });

const message = (specification: () => unknown): string => {
  try {
    specification();
  } catch (error) {
    return (error as Error).message;
  }
  return "it holds";
};
const at = (day: string) => ({ time: `2026-11-${day}T10:00:00.000Z` });

test("rows are what the events make of them, in whatever order they are told", () => {
  given(lent).thenRows([]);
  given(lent, [Lent.event({ book: "b", reader: "ada" }), Lent.event({ book: "a", reader: "bob" }, at("21"))])
    .thenRows([
      { book: "a", reader: "bob", since: at("21").time },
      { book: "b", reader: "ada" },
    ])
    .thenRow("b", { book: "b", reader: "ada" })
    .thenRow("c", null);
  given(lent, [
    Lent.event({ book: "a", reader: "ada" }),
    Lent.event({ book: "b", reader: "ada" }),
    Returned.event({ books: ["a", "b", "c"] }),
  ]).thenRows([]);
});

test("keys of several parts, events of older versions and of no handler are as in the service", () => {
  given(counted, [
    Lent.event({ book: "a", reader: "ada" }, at("21")),
    LentOnce.event({ book: "b" }, at("21")),
    Lent.event({ book: "c", reader: "ada" }, at("21")),
  ])
    .thenRows([
      { reader: "nobody", day: "2026-11-21", books: 1 },
      { reader: "ada", day: "2026-11-21", books: 2 },
    ])
    .thenRow({ reader: "ada", day: "2026-11-21" }, { reader: "ada", day: "2026-11-21", books: 2 });
  given(counted, [Burnt.event({})]).thenRows([{ reader: "all", day: "none", books: -1 }]);
  given(lent, [Burnt.event({})]).thenRows([]);
});

test("what is not so fails with what is", () => {
  const one = given(lent, [Lent.event({ book: "a", reader: "ada" })]);
  expect(message(() => one.thenRows([]))).toStartWith("the rows should be [], not ");
  expect(message(() => one.thenRow("a", null))).toStartWith(
    'the row of "a" should be null, not {"book":"a","reader":"ada"}',
  );
  // @ts-expect-error a row has a reader
  expect(message(() => one.thenRows([{ book: "a" }]))).toStartWith("the rows should be ");
  // @ts-expect-error the key is a text
  expect(message(() => one.thenRow(1, null))).toContain("the key book must be a string");
});

test("what would fail in the service fails here", () => {
  const wrong = defineProjection("wrong", {
    row: Type.Object({ book: Type.String(), n: Type.Integer() }),
    key: "book",
  });
  const of = (apply: (row: unknown, data: { book: string }) => { book: string; n: number }) =>
    message(() => given(wrong.on(Lent, { key: ({ book }) => book, apply }), [Lent.event({ book: "a", reader: "b" })]));
  expect(of((_, { book }) => ({ book, n: 0.5 }))).toBe(
    "wrong, Lent: it gave a row that its schema refuses: /n must be integer",
  );
  expect(of(() => ({ book: "other", n: 1 }))).toContain("it gave a row of another key");
  expect(
    of(() => {
      throw new Error("no");
    }),
  ).toBe("wrong, Lent: no");
  const event = { ...Lent.event({ book: "a", reader: "b" }), data: { book: 1 } };
  expect(message(() => given(lent, [event]))).toContain("the data of Lent is not what its schema says");
});
