// What may apply to the data of a variant beside its own schemas: conditions, and other branches that they may be valid by.

import {
  entry,
  isObject,
  type JsonSchema,
  mapAt,
  type SchemaObject,
  schemaAt,
  schemasAt,
} from "../json-schema/keywords.ts";
import { areApart } from "./apart.ts";
import type { Side, Variant } from "./variants.ts";

export type Beside = {
  /** Schemas that apply under a condition, or in a way that is not followed. */
  conditional: readonly SchemaObject[];
  /** Branches of `anyOf` that the same data may be valid by. */
  alternatives: readonly Variant[];
  /** All schemas of both. */
  schemas: readonly SchemaObject[];
  /** A reference leads nowhere: there may be more. */
  isIncomplete: boolean;
};

const known = new WeakMap<Variant, Beside>();

export function besideOf(variant: Variant): Beside {
  let beside = known.get(variant);
  if (beside === undefined) {
    beside = gathered(variant);
    known.set(variant, beside);
  }
  return beside;
}

function gathered(variant: Variant): Beside {
  const { side, siblings } = variant;
  const alternatives: Variant[] = [];
  for (const { branches, chosen } of siblings) {
    for (const [index, branch] of branches.entries()) {
      if (index === chosen || !side.spend(1)) continue;
      for (const other of side.variants([branch])) if (!areApart(variant, other)) alternatives.push(other);
    }
  }
  const starts = [variant, ...alternatives].flatMap(({ blurred, schemas }) => [
    ...blurred,
    ...schemas.flatMap(conditionsIn),
  ]);
  const { conditional, isIncomplete } = reached(starts, side);
  return {
    conditional,
    alternatives,
    schemas: [...conditional, ...alternatives.flatMap(({ schemas }) => schemas)],
    isIncomplete: isIncomplete || [variant, ...alternatives].some(({ incomplete }) => incomplete),
  };
}

/** All that applies in the same place, if one of the schemas does. */
function reached(starts: readonly JsonSchema[], { document }: Side) {
  const found = new Set(starts);
  let isIncomplete = false;
  for (const schema of found) {
    if (typeof schema === "boolean") continue;
    const targets = document.targets(schema);
    isIncomplete ||= targets.includes(null);
    const branches = ["allOf", "anyOf", "oneOf"].flatMap((keyword) => schemasAt(schema, keyword));
    for (const inner of [...targets, ...branches, ...conditionsIn(schema)]) if (inner !== null) found.add(inner);
  }
  return { conditional: [...found].filter(isObject), isIncomplete };
}

function conditionsIn(schema: SchemaObject): JsonSchema[] {
  const dependent = mapAt(schema, "dependentSchemas");
  const conditions = ["not", "if", "then", "else"].map((keyword) => schemaAt(schema, keyword));
  const schemas = [...conditions, ...Object.keys(dependent).map((name) => entry(dependent, name))];
  return schemas.filter((inner) => inner !== undefined);
}

/**
 * Schemas of a member that may apply, beside those that certainly do: they assert nothing, but speak of properties. A
 * condition without consequences says just that.
 */
export function possibly(side: Side, schemas: readonly unknown[], certain: readonly JsonSchema[]): SchemaObject[] {
  return side.distinct(schemas.filter(isObject), certain).map((schema) => ({ if: schema }));
}
