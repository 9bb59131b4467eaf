// What the schemas of a variant state about properties: which have to be there, and what they are valid by.
import {
  entry,
  evaluatesAlone,
  isSchema,
  type JsonSchema,
  mapAt,
  namesIn,
  type SchemaObject,
  schemaAt,
} from "../json-schema/keywords.ts";
import { matches } from "./values.ts";
import type { Variant } from "./variants.ts";

export type Stated = {
  /** The names that the schemas speak of. */
  names: ReadonlySet<string>;
  required: ReadonlySet<string>;
  patterns: ReadonlySet<string>;
  /** All schemas that a property of that name is valid by, if it is there. */
  of(name: string): readonly JsonSchema[];
  /** All schemas that certainly apply to properties that match the pattern, and that no schema speaks of by name. */
  matching(pattern: string): JsonSchema[];
  /** All schemas of properties that no schema speaks of. */
  others: JsonSchema[];
};

const known = new WeakMap<Variant, Stated>();

export function statedBy(variant: Variant): Stated {
  let stated = known.get(variant);
  if (stated === undefined) {
    stated = gathered(variant);
    known.set(variant, stated);
  }
  return stated;
}

function gathered({ schemas }: Variant): Stated {
  const byName = new Map<string, readonly JsonSchema[]>();
  return {
    names: new Set(schemas.flatMap(namesOf)),
    required: new Set(schemas.flatMap((schema) => namesIn(schema.required))),
    patterns: new Set(schemas.flatMap((schema) => Object.keys(mapAt(schema, "patternProperties")))),
    of(name) {
      const list = byName.get(name) ?? schemas.flatMap((schema) => schemasOf(schema, name));
      byName.set(name, list);
      return list;
    },
    matching: (pattern) =>
      schemas.flatMap((schema) => {
        const patterns = mapAt(schema, "patternProperties");
        const own = entry(patterns, pattern) ?? (Object.keys(patterns).length === 0 ? others(schema) : undefined);
        return own === undefined ? [] : [own];
      }),
    others: schemas.map(others).filter((schema) => schema !== undefined),
  };
}

/** The schema of properties that are not spoken of, where it says more than that there may be any. */
export function others(schema: SchemaObject): JsonSchema | undefined {
  const keyword = schema.additionalProperties === undefined ? "unevaluatedProperties" : "additionalProperties";
  const given = keyword === "additionalProperties" || evaluatesAlone(schema) ? schemaAt(schema, keyword) : undefined;
  return given === true ? undefined : given;
}

/** The names that a schema speaks of by itself. */
export function namesOf(schema: SchemaObject): string[] {
  const dependent = Object.entries(mapAt(schema, "dependentRequired"));
  return [
    ...Object.keys(mapAt(schema, "properties")),
    ...namesIn(schema.required),
    ...dependent.flatMap(([name, needed]) => [name, ...namesIn(needed)]),
    ...Object.keys(mapAt(schema, "dependentSchemas")),
  ];
}

/** The schemas that a schema by itself has for a property of that name. */
export function schemasOf(schema: SchemaObject, name: string): JsonSchema[] {
  const own = entry(mapAt(schema, "properties"), name);
  const found = own === undefined ? [] : [own];
  let isUncertain = false;
  for (const [pattern, value] of Object.entries(mapAt(schema, "patternProperties"))) {
    const isMatch = matches(pattern, name);
    isUncertain ||= isMatch === null;
    if (isMatch && isSchema(value)) found.push(value);
  }
  const rest = others(schema);
  return found.length > 0 || isUncertain || rest === undefined ? found : [rest];
}
