// Which properties the data of a variant may have, beyond what is stated: here the comparison is lenient, for once.
import { areApart } from "./apart.ts";
import {
  entry,
  highest,
  isObject,
  type JsonSchema,
  mapAt,
  type SchemaObject,
  schemaAt,
  schemasAt,
} from "./keywords.ts";
import { namesOf, others, type Stated, statedBy } from "./stated.ts";
import { matches } from "./values.ts";
import type { Variant } from "./variants.ts";

export type Properties = Omit<Stated, "of" | "others"> & {
  /** All schemas that a property of that name is valid by; null when there is none. */
  at(name: string): readonly JsonSchema[] | null;
  /** All schemas of properties that are not spoken of; null when there are none. */
  rest: readonly JsonSchema[] | null;
};

const known = new WeakMap<Variant, Properties>();

export function propertiesOf(variant: Variant): Properties {
  let properties = known.get(variant);
  if (properties === undefined) {
    properties = supposed(variant, statedBy(variant));
    known.set(variant, properties);
  }
  return properties;
}

/**
 * The one leniency of the comparison: properties that a schema does not speak of are taken to be absent from its data,
 * though it would let them pass. Otherwise a new optional property would break every object that is not closed.
 */
function supposed(variant: Variant, stated: Stated): Properties {
  const { side } = variant;
  const hints = hintsIn(variant);
  const names = new Set([...stated.names, ...hints.names.keys()]);
  const asked = highest(variant.schemas, "minProperties") ?? 0;
  const isOpen = stated.others.length > 0 || hints.open || asked > names.size;
  const rest = isOpen && side.variants(stated.others).length > 0 ? stated.others : null;
  const isStated = (name: string) =>
    stated.names.has(name) || [...stated.patterns].some((pattern) => matches(pattern, name) !== false);
  const of = (name: string): readonly JsonSchema[] => {
    // A hint says what a property is only where it is there because of the hint.
    const hinted = isOpen || isStated(name) ? [] : side.distinct(hints.names.get(name) ?? []);
    if (hinted.length === 0 || hinted.includes(true)) return stated.of(name);
    return [hinted.length === 1 ? (hinted[0] as JsonSchema) : { anyOf: hinted }];
  };
  const byName = new Map<string, readonly JsonSchema[] | null>();
  const at = (name: string) => {
    let list = byName.get(name);
    if (list === undefined) {
      list = names.has(name) || rest !== null || isStated(name) ? of(name) : null;
      if (list !== null && side.variants(list).length === 0) list = null;
      byName.set(name, list);
    }
    return list;
  };
  const { required, patterns, matching } = stated;
  return { names, required, patterns, matching, at, rest };
}

/** Properties that something speaks of that applies to some of the data only, with what they may be then. */
type Hints = { names: Map<string, JsonSchema[]>; open: boolean };

function hintsIn(variant: Variant): Hints {
  const hints: Hints = { names: new Map(), open: variant.incomplete };
  const { schemas, blurred, siblings, side } = variant;
  addConditional(hints, [...blurred, ...schemas.flatMap(conditionsIn)], variant);
  hints.open ||= schemas.some((schema) => schema.propertyNames !== undefined || isObject(schema.unevaluatedProperties));
  for (const { branches, chosen } of siblings) {
    for (const [index, branch] of branches.entries()) {
      if (index === chosen || !side.spend(1)) continue;
      for (const other of side.variants([branch])) if (!areApart(variant, other)) addSibling(hints, other);
    }
  }
  return hints;
}

/** Data may be valid by a second branch too, and then have its properties. */
function addSibling(hints: Hints, sibling: Variant): void {
  const stated = statedBy(sibling);
  if (!sibling.side.spend(4 * stated.names.size)) return;
  for (const name of stated.names) {
    const schemas = hints.names.get(name) ?? [];
    const all = sibling.side.distinct(stated.of(name));
    schemas.push(all.length === 1 ? (all[0] as JsonSchema) : { allOf: all });
    hints.names.set(name, schemas);
  }
  const { schemas, blurred, incomplete } = sibling;
  hints.open ||= incomplete || stated.others.some((schema) => schema !== false);
  hints.open ||= schemas.some((schema) => aboutOthers.some((keyword) => schema[keyword] !== undefined));
  addConditional(hints, [...blurred, ...schemas.flatMap(conditionsIn)], sibling);
}

const aboutOthers = ["patternProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"];

/** What is not known to apply, but might: such properties may be there, and be anything. */
function addConditional(hints: Hints, schemas: readonly JsonSchema[], { side }: Variant): void {
  const reached = new Set(schemas);
  for (const schema of reached) {
    if (typeof schema === "boolean") continue;
    for (const name of namesOf(schema)) hints.names.set(name, [true]);
    const targets = side.document.targets(schema);
    hints.open ||= targets.includes(null) || others(schema) !== undefined;
    hints.open ||= aboutOthers.some((keyword) => schema[keyword] !== undefined);
    const branches = ["allOf", "anyOf", "oneOf"].flatMap((keyword) => schemasAt(schema, keyword));
    for (const inner of [...targets, ...branches, ...conditionsIn(schema)]) if (inner !== null) reached.add(inner);
  }
}

function conditionsIn(schema: SchemaObject): JsonSchema[] {
  const dependent = mapAt(schema, "dependentSchemas");
  const conditions = ["not", "if", "then", "else"].map((keyword) => schemaAt(schema, keyword));
  const schemas = [...conditions, ...Object.keys(dependent).map((name) => entry(dependent, name))];
  return schemas.filter((inner) => inner !== undefined);
}
