import { expect, test } from "bun:test";
import fc from "fast-check";
import { contentHash, uuidv7, uuidv7TimeMs } from "../../src/base/ids.ts";

const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("ids ascend and are unique, also many in a millisecond and when the clock goes back", () => {
  const now = Date.now();
  const ids: string[] = [];
  for (let i = 0; i < 10_000; i++) ids.push(uuidv7(now));
  for (let i = 0; i < 60; i++) ids.push(uuidv7(now - i * 1_000));
  for (let i = 0; i < 100; i++) ids.push(uuidv7(now + i));
  for (const id of ids) expect(id).toMatch(form);
  expect(ids).toEqual([...ids].sort());
  expect(new Set(ids).size).toBe(ids.length);
});

test("an id tells its time, and nothing else does", () => {
  const future = Date.now() + 3_600_000;
  expect(uuidv7TimeMs(uuidv7(future))).toBe(future);
  for (const text of ["", "o-1", crypto.randomUUID(), uuidv7(future).slice(1), `${uuidv7(future)}0`]) {
    expect(uuidv7TimeMs(text)).toBeNull();
  }
});

test("a clock that was far ahead for a moment leaves no ids ahead of it, by whose time their events would not be found", () => {
  const now = Date.now();
  uuidv7(now + 3_600_000);
  expect(uuidv7TimeMs(uuidv7(now))).toBe(now);
});

test("hashes tell apart what differs in content or in where a part ends, and nothing else", () => {
  const parts = fc.array(fc.string({ unit: fc.constantFrom("a", "b", ":", "1", "\u00e9") }), { maxLength: 4 });
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      expect(contentHash(a) === contentHash(b)).toBe(JSON.stringify(a) === JSON.stringify(b));
    }),
    { numRuns: 500 },
  );
  expect(contentHash(["ab", "c"])).not.toBe(contentHash(["a", "bc"]));
  expect(contentHash(["\u00e9"])).toBe(contentHash([new TextEncoder().encode("\u00e9")]));
  expect(contentHash(["a"])).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
});
