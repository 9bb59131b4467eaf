// From a body to an envelope and back: nothing that a producer wrote is lost or changed on the way.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Problem } from "../../src/base/errors.ts";
import { parseJsonBody } from "../../src/stream/cloudevents.ts";
import { envelope, type NewEvent } from "../../src/stream/event.ts";
import type { ParseContext } from "../../src/stream/event-input.ts";
import { noSchemas } from "../support/schemas.ts";

const context: ParseContext = { stream: "s", service: "sluice", idempotencyKey: null };
const parse = (body: unknown, key: string | null = null) =>
  parseJsonBody(typeof body === "string" ? body : JSON.stringify(body), false, { ...context, idempotencyKey: key });

function line(event: NewEvent): string {
  const recordedTime = "2026-01-01T00:00:00.000Z";
  const stored = {
    ...event,
    position: 5,
    stream: "s",
    ephemeral: false,
    offset: 3,
    recordedTime,
    line: null,
    lineRevision: -1,
    shown: null,
  };
  return envelope(stored, noSchemas);
}

const letter = fc.constantFrom("a", "Z", "0", '"', "\\", "/", ":", "{", " ", "\u00e9", "\u{1f389}", "\u2028", "\ufeff");
const text = fc.oneof(
  fc.string({ unit: letter, minLength: 1, maxLength: 12 }),
  fc.constantFrom('"time":', '\\"time\\":', '","time":"x', '"datacontenttype":', "null", "}"),
);
const extension = fc.oneof(text, fc.constant(""), fc.boolean(), fc.integer({ min: -2147483648, max: 2147483647 }));
const taken =
  /^(id|type|source|data|time|subject|stream|offset|position|specversion|dataschema|schemaversion|correlationid|causationid|partitionkey|traceparent|datacontenttype|recordedtime|delivery.*)$/;
const name = fc.stringMatching(/^[a-z0-9]{1,8}$/).filter((candidate) => !taken.test(candidate));
const event = fc
  .tuple(
    fc.record(
      {
        type: text.filter((type) => !type.startsWith("sluice.")),
        id: text,
        source: text,
        subject: text,
        correlationid: text,
        partitionkey: text,
        causationid: text,
        time: fc.constantFrom("2026-11-21T10:00:00Z", "1999-01-01T00:00:00.5+01:00"),
        datacontenttype: text,
        schemaversion: fc.integer({ min: 1, max: 999_999_999 }).map(String),
        data: fc.jsonValue({ maxDepth: 4, stringUnit: letter }),
      },
      { requiredKeys: ["type"] },
    ),
    fc.dictionary(name, extension, { maxKeys: 5 }),
  )
  .map(([attributes, extensions]) => ({ ...extensions, ...attributes }));

test("the envelope holds what was written, on one line, with the service's attributes beside it", () => {
  fc.assert(
    fc.property(event, fc.constantFrom(undefined, 2, "\t"), (given, indent) => {
      const [stored] = parse(JSON.stringify(given, null, indent)) as [NewEvent];
      const written = line(stored);
      expect(written).not.toMatch(/[\r\n]/);
      const read = JSON.parse(written) as Record<string, unknown>;
      expect(read).toMatchObject({ stream: "s", offset: "3", position: "5", specversion: "1.0" });
      for (const [key, value] of Object.entries(given))
        expect([key, read[key]]).toEqual([key, JSON.parse(JSON.stringify(value))]);
      expect(read.time).toBe(given.time ?? "2026-01-01T00:00:00.000Z");
      expect("data" in read).toBe("data" in given);
      const own = [
        "specversion",
        "id",
        "source",
        "time",
        "stream",
        "offset",
        "position",
        "recordedtime",
        "schemaversion",
        "datacontenttype",
      ];
      expect(Object.keys(read).filter((key) => !(key in given) && !own.includes(key))).toEqual([]);
    }),
    { numRuns: 400 },
  );
});

test("content is told apart by its hash, whatever the order of attributes", () => {
  fc.assert(
    fc.property(event, event, (a, b) => {
      const hash = (value: object) => parse({ ...value, id: "same" })[0]?.hash as string;
      const reversed = Object.fromEntries(Object.entries(a).reverse());
      expect(hash(reversed)).toBe(hash(a));
      const { id: _, ...contentA } = a;
      const { id: __, ...contentB } = b;
      const canonical = (value: object) => JSON.stringify(Object.entries(value).sort(([x], [y]) => (x < y ? -1 : 1)));
      if (canonical(contentA) !== canonical(contentB)) expect(hash(a)).not.toBe(hash(b));
    }),
    { numRuns: 300 },
  );
});

test("events without an id get ids of their own, or such as a key derives for each place", () => {
  const ids = (key: string | null) =>
    parse([{ type: "A" }, { type: "A" }, { type: "A", id: "given" }], key).map((e) => e.id);
  expect(new Set([...ids(null), ...ids(null)]).size).toBe(5);
  expect(ids("k")).toEqual(ids("k"));
  expect(new Set([...ids("k"), ...ids("other")]).size).toBe(5);
  expect(parse([{ type: "A" }, { type: "A", id: "x" }]).map((e) => [e.known, e.hash !== null])).toEqual([
    [false, false],
    [true, true],
  ]);
  expect(parse({ type: "A" }, "k")[0]?.known).toBe(true);
});

test("whatever a body holds, it is read or refused by a problem, never by a failure", () => {
  const anything = fc.oneof(
    fc.json({ maxDepth: 3 }),
    fc
      .tuple(event, fc.dictionary(fc.string({ maxLength: 10 }), fc.jsonValue({ maxDepth: 2 })))
      .map(([a, b]) => JSON.stringify({ ...a, ...b })),
    fc.tuple(event, fc.nat(), fc.string({ maxLength: 2 })).map(([value, at, by]) => {
      const body = JSON.stringify(value);
      return body.slice(0, at % body.length) + by + body.slice((at % body.length) + 1);
    }),
  );
  let read = 0;
  fc.assert(
    fc.property(anything, (body) => {
      try {
        for (const stored of parse(body)) JSON.parse(line(stored));
        read++;
      } catch (error) {
        expect(error).toBeInstanceOf(Problem);
        expect([400, 422]).toContain((error as Problem).status);
      }
    }),
    { numRuns: 1_500 },
  );
  expect(read).toBeGreaterThan(50);
});
