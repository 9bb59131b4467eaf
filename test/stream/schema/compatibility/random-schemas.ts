// Random schemas, and changed versions of them.
import type { JsonSchema, SchemaObject } from "../../../../src/stream/schema/json-schema/keywords.ts";
import { subschemas } from "../../../../src/stream/schema/json-schema/subschemas.ts";
import { type Dice, eager, subset } from "./dice.ts";

export const names = ["a", "b", "ab", "x"];
const patterns = ["^a", "b$", "^x"];
export const texts = ["", "a", "b", "ab", "xb", "aaa", "\u{1f389}"];
export const numbers = [-1, 0, 0.5, 1, 2, 3, 4, 6];
export const types = ["null", "boolean", "object", "array", "string", "number", "integer"];
const scalars = [null, true, false, ...texts, ...numbers];
const values = [...scalars, [], {}, ["a"], [1, 2], { a: 1 }, { a: "a", b: {} }];
const references = ["#/$defs/p", "#/$defs/q", "#/$defs/q", "#named", "#"];

/** What a reference of a random schema refers to. */
export function target(root: SchemaObject, reference: string): unknown {
  const { p, q } = root.$defs as Draft;
  return reference === "#" ? root : reference === "#/$defs/p" ? p : q;
}

/** Formats, by what they let pass. */
export const formats: Record<string, (text: string) => boolean> = {
  short: (text) => text.length <= 2,
  lower: (text) => text === text.toLowerCase() && text !== "b",
};

export function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

export type Draft = Record<string, unknown>;

function mapped(dice: Dice, keys: readonly string[], depth: number): Draft {
  return Object.fromEntries(keys.map((key) => [key, randomSchema(dice, depth)]));
}

const keywords: Record<string, (dice: Dice, draft: Draft, depth: number) => void> = {
  string(dice, draft) {
    if (dice.once(3)) draft.minLength = dice.below(3);
    if (dice.once(3)) draft.maxLength = dice.below(4);
    if (dice.once(4)) draft.pattern = dice.of(patterns);
    if (dice.once(6)) draft.format = dice.of(Object.keys(formats));
  },
  number(dice, draft) {
    if (dice.once(3)) draft.minimum = dice.of(numbers);
    if (dice.once(4)) draft.maximum = dice.of(numbers);
    if (dice.once(6)) draft.exclusiveMinimum = dice.of(numbers);
    if (dice.once(6)) draft.exclusiveMaximum = dice.of(numbers);
    if (dice.once(5)) draft.multipleOf = dice.of([0.5, 1, 2, 3, 4]);
  },
  object(dice, draft, depth) {
    const declared = subset(dice, names);
    draft.properties = mapped(dice, declared, depth - 1);
    if (dice.once(2)) draft.required = dice.some(dice.once(5) ? names : declared);
    if (dice.once(3)) draft.additionalProperties = dice.once(2) ? false : randomSchema(dice, depth - 2);
    if (dice.once(7)) draft.patternProperties = mapped(dice, subset(dice, patterns), depth - 2);
    if (dice.once(12)) draft.propertyNames = randomSchema(dice, 0);
    if (dice.once(12)) draft.minProperties = dice.below(3);
    if (dice.once(12)) draft.maxProperties = dice.below(4);
    if (dice.once(12)) draft.dependentRequired = { [dice.of(names)]: dice.some(names) };
    if (dice.once(15)) draft.dependentSchemas = mapped(dice, [dice.of(names)], depth - 1);
    if (dice.once(15)) draft.unevaluatedProperties = dice.once(2) ? false : randomSchema(dice, depth - 2);
  },
  array(dice, draft, depth) {
    if (!dice.once(4)) draft.items = randomSchema(dice, depth - 1);
    if (dice.once(4)) draft.prefixItems = [randomSchema(dice, depth - 1), randomSchema(dice, depth - 2)];
    if (dice.once(4)) draft.minItems = dice.below(3);
    if (dice.once(4)) draft.maxItems = dice.below(4);
    if (dice.once(6)) draft.uniqueItems = true;
    if (dice.once(8)) draft.contains = randomSchema(dice, depth - 2);
    if (dice.once(12)) draft.minContains = dice.below(3);
    if (dice.once(12)) draft.maxContains = 1 + dice.below(3);
    if (dice.once(15)) draft.unevaluatedItems = dice.once(2) ? false : randomSchema(dice, depth - 2);
  },
};
const [string, number, object, array] = ["string", "number", "object", "array"].map((type) => keywords[type]) as [
  (typeof keywords)[string],
  (typeof keywords)[string],
  (typeof keywords)[string],
  (typeof keywords)[string],
];

function randomSchema(dice: Dice, depth: number): JsonSchema {
  const draft: Draft = {};
  const roll = dice.below(24);
  if (roll === 0) return !dice.once(3);
  if (roll === 1) return {};
  if (roll <= 3) return { enum: subset(dice, subset(dice, values)) };
  if (roll === 4) return { const: dice.of(values) };
  if (roll <= 6) return { $ref: dice.of(references) };
  if (roll <= 8 && depth > 0) {
    draft[dice.of(["anyOf", "anyOf", "oneOf", "allOf"])] = union(dice, depth);
    if (dice.once(2)) object(dice, draft, depth);
    if (dice.once(2)) draft.type = "object";
    return draft;
  }
  if (depth > 0 && dice.once(12)) conditional(dice, draft, depth);
  if (!dice.once(8))
    draft.type = dice.once(4) ? subset(dice, subset(dice, types)) : dice.of(depth > 0 ? types : scalar);
  if (draft.type === undefined || draft.type === "string") string(dice, draft, depth);
  if (draft.type === undefined || draft.type === "number" || draft.type === "integer") number(dice, draft, depth);
  if (depth > 0 && (draft.type === undefined || draft.type === "object")) object(dice, draft, depth);
  if (depth > 0 && (draft.type === undefined || draft.type === "array")) array(dice, draft, depth);
  if (Array.isArray(draft.type)) keywords[dice.of(Object.keys(keywords))]?.(dice, draft, Math.max(depth, 0));
  if (draft.type === "object" && dice.once(12)) draft.anyOf = union(dice, depth);
  return draft;
}
const scalar = ["null", "boolean", "string", "string", "number", "integer"];

/** Branches, often told apart by a property. */
function union(dice: Dice, depth: number): JsonSchema[] {
  const kinds = dice.once(2) ? ["a", "b", "ab"] : ["a", "b"];
  if (dice.once(2)) return kinds.map(() => randomSchema(dice, depth - 1));
  return kinds.map((value) => {
    const branch: Draft = { type: "object" };
    object(dice, branch, depth - 1);
    return { ...branch, properties: { ...(branch.properties as Draft), x: { const: value } }, required: ["x"] };
  });
}

function conditional(dice: Dice, draft: Draft, depth: number): void {
  if (dice.once(3)) draft.not = randomSchema(dice, depth - 1);
  else for (const keyword of ["if", "then", "else"]) if (!dice.once(4)) draft[keyword] = randomSchema(dice, depth - 1);
}

/** A schema with the definitions that references lead to: an object with many members, or one thing with many keywords. */
export function randomRoot(dice: Dice): SchemaObject {
  const root: Draft = { type: "object" };
  if (dice.once(3)) object(dice, root, 3);
  else {
    const inner: Draft = { ...asObject(randomSchema(dice, 1)) };
    refresh(dice, inner, 2);
    Object.assign(root, dice.once(2) ? { properties: { a: inner }, required: ["a"] } : { ...inner, type: inner.type });
  }
  const $defs = { p: randomSchema(dice, 2), q: { ...asObject(randomSchema(dice, 2)), $anchor: "named" } };
  return avoidingTraps({ ...root, $defs });
}

/**
 * Takes out what the validator gets wrong: empty arrays pass where `contains` stands beside `prefixItems`, and
 * `dependentSchemas` hide from `unevaluatedProperties` what is evaluated beside them.
 */
function avoidingTraps(root: SchemaObject): SchemaObject {
  const drafts = [...subschemas(root)].map(({ schema }) => schema).filter((schema) => typeof schema === "object");
  const unevaluated = drafts.some((schema) => schema.unevaluatedProperties !== undefined);
  for (const draft of drafts as Draft[]) {
    if (draft.prefixItems !== undefined) delete draft.contains;
    if (unevaluated) delete draft.dependentSchemas;
  }
  return root;
}

/** Gives a schema other keywords of its type. */
function refresh(dice: Dice, draft: Draft, most: number): void {
  const type = dice.of([draft.type ?? dice.of(types)].flat()) as string;
  const fresh: Draft = {};
  keywords[type === "integer" ? "number" : type]?.(eager(dice), fresh, 1);
  if (dice.once(8)) conditional(dice, fresh, 1);
  for (const keyword of subset(dice, Object.keys(fresh)).slice(0, most)) draft[keyword] = fresh[keyword];
}

function asObject(schema: JsonSchema): SchemaObject {
  return typeof schema === "boolean" ? { allOf: [schema] } : schema;
}

/** Another version of a schema: a few changes, of the kinds that people make. */
export function changed(dice: Dice, schema: SchemaObject): SchemaObject {
  const copy = structuredClone(schema) as Draft;
  for (let n = 1 + dice.below(3); n > 0; n--) {
    const places = [...subschemas(copy as SchemaObject)].filter((place) => typeof place.schema === "object");
    // Definitions may not be referred to.
    const reached = places.filter(({ pointer }) => dice.once(4) || !pointer.startsWith("/$defs/"));
    change(dice, dice.of(reached.length > 0 ? reached : places).schema as Draft);
  }
  return avoidingTraps(copy as SchemaObject);
}

function change(dice: Dice, draft: Draft): void {
  const fresh = randomSchema(dice, 1);
  const { properties, required, type, anyOf } = draft as {
    properties?: Draft;
    required?: string[];
    type?: string;
    anyOf?: [];
  };
  const changes: (() => void)[] = [
    () => refresh(dice, draft, 1),
    () => refresh(dice, draft, 2),
    () => refresh(dice, draft, 2),
    () => loosen(dice, draft),
    () => wrap(dice, draft, fresh),
    () => delete draft[dice.of(Object.keys(draft).filter((keyword) => !/^\$/.test(keyword)))],
    () => Object.assign(draft, typeof fresh === "boolean" ? {} : fresh),
  ];
  if (properties) changes.push(() => (draft.properties = { ...properties, [dice.of(names)]: fresh }));
  if (properties) changes.push(() => (draft.additionalProperties = dice.of([false, true, fresh])));
  if (required) changes.push(() => (draft.required = dice.some(required)));
  if (typeof type === "string") changes.push(() => (draft.type = [...new Set([type, dice.of(types)])]));
  if (type === "integer") changes.push(() => (draft.type = "number"));
  if (Array.isArray(draft.enum))
    changes.push(() => (draft.enum = subset(dice, [...(draft.enum as []), dice.of(scalars)])));
  if (anyOf) changes.push(() => (draft.anyOf = [...anyOf, fresh]));
  dice.of(changes)();
}

/** Moves bounds by one, outwards more often than inwards. */
function loosen(dice: Dice, draft: Draft): void {
  const outwards = dice.once(4) ? -1 : 1;
  for (const [keyword, value] of Object.entries(draft)) {
    if (typeof value !== "number" || keyword === "multipleOf") continue;
    const isLower = /^(min|exclusiveMin)/.test(keyword);
    const moved = value + (isLower ? -outwards : outwards);
    draft[keyword] = /imum$/i.test(keyword) ? moved : Math.max(0, moved);
  }
}

/** The same schema said in another way, with or without an alternative beside it. */
function wrap(dice: Dice, draft: Draft, fresh: JsonSchema): void {
  const { $defs, $anchor, ...inner } = draft;
  for (const keyword of Object.keys(inner)) delete draft[keyword];
  if (dice.once(2)) draft.anyOf = [inner, fresh];
  else draft[dice.of(["allOf", "oneOf"])] = [inner];
}
