// What the keywords `unevaluatedProperties` and `unevaluatedItems` leave alone, because something beside them evaluates it.

import { isObject, type JsonSchema, type SchemaObject, schemasAt } from "../json-schema/keywords.ts";
import type { Comparison } from "./comparison.ts";
import type { Variant } from "./variants.ts";

export type Evaluating = {
  /** The schema, and all schemas that certainly apply beside it: by references, `allOf`, or because they accept all. */
  parts: SchemaObject[];
  /** Whether nothing else can apply. */
  isComplete: boolean;
};

const conditions = ["if", "dependentSchemas", "contains"];

export function evaluating({ reader, accepts }: Comparison, schema: SchemaObject, variant: Variant): Evaluating {
  const found = new Set<JsonSchema>([schema]);
  let isComplete = true;
  for (const part of found) {
    if (typeof part === "boolean") continue;
    for (const inner of [...reader.document.targets(part), ...schemasAt(part, "allOf")]) {
      if (inner !== null) found.add(inner);
    }
    for (const branch of [...schemasAt(part, "anyOf"), ...schemasAt(part, "oneOf")]) {
      if (accepts(branch, variant).length === 0) found.add(branch);
      else isComplete = false;
    }
    if (conditions.some((keyword) => part[keyword] !== undefined)) isComplete = false;
  }
  return { parts: [...found].filter(isObject), isComplete };
}
