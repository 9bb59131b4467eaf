// Random pairs of schemas and random documents: what is said to be compatible is held against a validator.
import { expect, test } from "bun:test";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import fc from "fast-check";
import { breaks } from "../../../../src/stream/schema/compatibility/compatibility.ts";
import type { JsonSchema } from "../../../../src/stream/schema/json-schema/keywords.ts";
import { createDice } from "./dice.ts";
import { randomDocument } from "./random-documents.ts";
import { changed, formats, randomRoot } from "./random-schemas.ts";
import { isSpokenOf } from "./spoken.ts";

const ajv = new Ajv2020({ strict: false });
for (const [name, allows] of Object.entries(formats)) ajv.addFormat(name, allows);

/** Null for references that lead to each other, which no validator can follow. */
function compiled(schema: JsonSchema): ValidateFunction | null {
  const own = structuredClone(schema) as object;
  const validate = unlessEndless(() => ajv.compile(own));
  ajv.removeSchema(own);
  return validate;
}

function unlessEndless<T>(work: () => T): T | null {
  try {
    return work();
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

test("data of a writer that breaks nothing are valid by the reader", () => {
  const found = { compatible: 0, incompatible: 0, refuted: 0, documents: 0 };
  fc.assert(
    fc.property(fc.noShrink(fc.integer({ min: 0, max: 0x7fffffff })), (seed) => {
      const dice = createDice(seed);
      const root = randomRoot(dice);
      const [reader, writer] = dice.once(2) ? [root, changed(dice, root)] : [changed(dice, root), root];
      const isCompatible = breaks(reader, writer).length === 0;
      const [reads, writes] = [compiled(reader), compiled(writer)];
      if (reads === null || writes === null) return;
      found[isCompatible ? "compatible" : "incompatible"]++;
      let isRefuted = false;
      for (let i = 0; i < 12 && !isRefuted; i++) {
        const document = randomDocument(dice, writer);
        const isWritten = unlessEndless(() => writes(document) && isSpokenOf(writer, document));
        if (!isWritten) continue;
        if (isCompatible) found.documents++;
        isRefuted = unlessEndless(() => reads(document)) === false;
        if (isCompatible && isRefuted) throw new Error(JSON.stringify({ seed, reader, writer, document }));
      }
      if (isRefuted) found.refuted++;
    }),
    { numRuns: 300 },
  );
  // Neither does everything break, nor nothing; and what is said to break often does.
  expect(found.compatible).toBeGreaterThan(100);
  expect(found.documents).toBeGreaterThan(500);
  expect(found.incompatible).toBeGreaterThan(50);
  expect(found.refuted).toBeGreaterThan(found.incompatible / 4);
});
