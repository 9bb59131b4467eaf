// Which properties the data of a variant may have, beyond what is stated: here the comparison is lenient, for once.

import {
  evaluatesAlone,
  highest,
  isObject,
  type JsonSchema,
  mapAt,
  type SchemaObject,
} from "../json-schema/keywords.ts";
import { besideOf, possibly } from "./beside.ts";
import { namesOf, others, schemasOf, statedBy } from "./stated.ts";
import { matches } from "./values.ts";
import type { Variant } from "./variants.ts";

export type Properties = {
  /** The names that something in the schema speaks of. */
  names: ReadonlySet<string>;
  required: ReadonlySet<string>;
  patterns: ReadonlySet<string>;
  /** All schemas that a property of that name is valid by; null when there is none. */
  at(name: string): readonly JsonSchema[] | null;
  /** All schemas of properties that match the pattern, and that nothing speaks of by name. */
  matching(pattern: string): readonly JsonSchema[];
  /** All schemas of properties that nothing speaks of; null when there are none. */
  rest: readonly JsonSchema[] | null;
};

const known = new WeakMap<Variant, Properties>();

export function propertiesOf(variant: Variant): Properties {
  let properties = known.get(variant);
  if (properties === undefined) {
    properties = supposed(variant);
    known.set(variant, properties);
  }
  return properties;
}

/**
 * The one leniency of the comparison: properties that a schema does not speak of are taken to be absent from its data,
 * though it would let them pass. Otherwise a new optional property would break every object that is not closed.
 */
function supposed(variant: Variant): Properties {
  const { side, schemas } = variant;
  const stated = statedBy(variant);
  const beside = besideOf(variant);
  const hints = hintsIn(variant);
  const names = new Set([...stated.names, ...hints.keys()]);
  const isOpen =
    stated.others.length > 0 ||
    schemas.some((schema) => schema.propertyNames !== undefined || isObject(schema.unevaluatedProperties)) ||
    beside.schemas.some(saysMoreOfOthers) ||
    (highest(schemas, "minProperties") ?? 0) > names.size;

  const isStated = (name: string) =>
    stated.names.has(name) || [...stated.patterns].some((pattern) => matches(pattern, name) !== false);
  const certain = (name: string): readonly JsonSchema[] => {
    // A hint says what a property is only where it is there because of the hint.
    const hinted = isOpen || isStated(name) ? [] : side.distinct(hints.get(name) ?? []);
    if (hinted.length === 0 || hinted.includes(true)) return stated.of(name);
    return [hinted.length === 1 ? (hinted[0] as JsonSchema) : { anyOf: hinted }];
  };
  const unevaluated = schemas.flatMap((schema) => (evaluatesAlone(schema) ? [] : [schema.unevaluatedProperties]));
  const unnamed = [...beside.schemas.flatMap(unnamedIn), ...unevaluated];
  const rest = isOpen && side.variants(stated.others).length > 0 ? stated.others : null;

  const byName = new Map<string, readonly JsonSchema[] | null>();
  const lookUp = (name: string) => {
    if (!names.has(name) && rest === null && !isStated(name)) return null;
    const list = certain(name);
    if (side.variants(list).length === 0) return null;
    const more = beside.schemas.flatMap((schema) => [...schemasOf(schema, name), schema.unevaluatedProperties]);
    return more.length + unevaluated.length === 0
      ? list
      : [...list, ...possibly(side, [...more, ...unevaluated], list)];
  };
  return {
    names,
    required: stated.required,
    patterns: stated.patterns,
    at(name) {
      const list = byName.has(name) ? byName.get(name) : lookUp(name);
      byName.set(name, list ?? null);
      return list ?? null;
    },
    matching(pattern) {
      const list = stated.matching(pattern);
      return [...list, ...possibly(side, [...unnamed, ...schemas.flatMap(unnamedIn)], list)];
    },
    rest: rest && [...rest, ...possibly(side, unnamed, rest)],
  };
}

/** Names that something speaks of that may apply, with what such properties are then: one of the schemas. */
function hintsIn(variant: Variant): Map<string, JsonSchema[]> {
  const hints = new Map<string, JsonSchema[]>();
  const { conditional, alternatives } = besideOf(variant);
  for (const other of alternatives) {
    const stated = statedBy(other);
    if (!other.side.spend(4 * stated.names.size)) break;
    for (const name of stated.names) {
      const schemas = hints.get(name) ?? [];
      const all = other.side.distinct(stated.of(name));
      schemas.push(all.length === 1 ? (all[0] as JsonSchema) : { allOf: all });
      hints.set(name, schemas);
    }
  }
  // Under a condition nothing is certain: such properties may be there, and be anything.
  for (const schema of conditional) for (const name of namesOf(schema)) hints.set(name, [true]);
  return hints;
}

const aboutOthers = ["patternProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"];

function saysMoreOfOthers(schema: SchemaObject): boolean {
  return others(schema) !== undefined || aboutOthers.some((keyword) => schema[keyword] !== undefined);
}

/** The schemas of properties without a name. */
function unnamedIn(schema: SchemaObject): unknown[] {
  const { additionalProperties, unevaluatedProperties } = schema;
  return [...Object.values(mapAt(schema, "patternProperties")), additionalProperties, unevaluatedProperties];
}
