// The variants that a schema's data come in: the branches of `anyOf` and `oneOf`, each with all that applies beside it.

import { canonical, type Identities } from "../json-schema/identity.ts";
import { type JsonSchema, numberAt, type SchemaObject, schemasAt } from "../json-schema/keywords.ts";
import type { SchemaDocument } from "./document.ts";
import { allowedValues, everyKind, kind, kindOf, kindsOf, refuses, typesIn } from "./values.ts";

/** Data that are valid by all of `schemas`. What is left out of account (`not`, `if` …) makes it more, never less. */
export type Variant = {
  /** Equal for equal variants of one document. */
  key: string;
  schemas: readonly SchemaObject[];
  kinds: number;
  /** The kinds of all variants of the same schemas, for people. */
  allKinds: number;
  /** All values there can be, when they are few; lists and objects among them are described by `schemas` too. */
  values: readonly unknown[] | null;
  /** The canonical texts of the values. */
  texts: ReadonlySet<string> | null;
  /** Branches that apply somehow, but were too many to be told apart. */
  blurred: readonly JsonSchema[];
  /** Other branches of `anyOf`, which may be valid beside the one that makes the variant. */
  siblings: readonly Choice[];
  /** A reference leads nowhere: there may be more to it. */
  incomplete: boolean;
  side: Side;
};

/** One of the two schemas of a comparison. */
export type Side = {
  document: SchemaDocument;
  /** The variants of data that are valid by all schemas of the list; none when there are no such data. */
  variants(list: readonly JsonSchema[]): readonly Variant[];
  /** The variant restricted by one more schema without branches. */
  narrowed(variant: Variant, by: SchemaObject): Variant | null;
  /** The schemas that differ, also from the others, in an order of their own: equal for lists that are equal as sets. */
  distinct(list: readonly JsonSchema[], others?: readonly JsonSchema[]): JsonSchema[];
  /** Notes work that was done; false when no more can be afforded. */
  spend(work: number): boolean;
};

/** One branch of several, in the schema of that number. */
type Choice = { owner: number; branches: readonly JsonSchema[]; chosen: number };

type Draft = {
  seen: Set<number>;
  schemas: SchemaObject[];
  blurred: JsonSchema[];
  siblings: Choice[];
  incomplete: boolean;
};

const maxForks = 10_000;
const maxDepth = 200;

export function createSide(document: SchemaDocument, identities: Identities, spend: Side["spend"]): Side {
  const byKey = new Map<string, readonly Variant[]>();
  const byList = new WeakMap<readonly JsonSchema[], readonly Variant[]>();

  function variants(list: readonly JsonSchema[]): readonly Variant[] {
    let found = byList.get(list);
    if (found !== undefined) return found;
    const key = list.map((schema) => identities.of(schema).id).join(",");
    found = byKey.get(key) ?? unfolded(list);
    byKey.set(key, found);
    byList.set(list, found);
    return found;
  }

  function unfolded(list: readonly JsonSchema[]): Variant[] {
    let forks = 0;

    function branched(drafts: Draft[], branches: readonly JsonSchema[], depth: number, owner: number | null): Draft[] {
      return drafts.flatMap((draft) => {
        forks += branches.length;
        if (!spend(draft.schemas.length * branches.length)) return [];
        if (forks > maxForks) {
          for (const branch of branches) draft.blurred.push(branch);
          return [draft];
        }
        return branches.flatMap((branch, chosen) => {
          const copy = copyOf(draft);
          if (owner !== null) copy.siblings.push({ owner, branches, chosen });
          return expanded(copy, branch, depth);
        });
      });
    }

    function expanded(draft: Draft, given: JsonSchema, depth: number): Draft[] {
      const schema = document.behind(given);
      if (schema === true) return [draft];
      if (schema === false || !spend(1)) return [];
      const { id } = identities.of(schema);
      if (draft.seen.has(id)) return [draft];
      draft.seen.add(id);
      draft.schemas.push(schema);
      const targets = document.targets(schema);
      if (depth > maxDepth || targets.includes(null)) draft.incomplete = true;
      if (depth > maxDepth) return [draft];
      let drafts = [draft];
      for (const part of [...targets.filter((target) => target !== null), ...schemasAt(schema, "allOf")]) {
        drafts = drafts.flatMap((one) => expanded(one, part, depth + 1));
      }
      const [anyOf, oneOf] = [distinct(schemasAt(schema, "anyOf")), schemasAt(schema, "oneOf")];
      const structures = structuresOf(schema);
      if (anyOf.length > 0) drafts = branched(drafts, anyOf, depth + 1, id);
      if (oneOf.length > 0) drafts = branched(drafts, oneOf, depth + 1, null);
      return structures === null ? drafts : branched(drafts, structures, depth + 1, null);
    }

    let drafts: Draft[] = [{ seen: new Set(), schemas: [], blurred: [], siblings: [], incomplete: false }];
    for (const schema of list) drafts = drafts.flatMap((draft) => expanded(draft, schema, 0));
    const found = drafts.map((draft) => finished(draft)).filter((variant) => variant !== null);
    const allKinds = found.reduce((kinds, variant) => kinds | variant.kinds, 0);
    return found.map((variant) => ({ ...variant, allKinds }));
  }

  function finished({ seen, ...draft }: Draft, allKinds = 0): Variant | null {
    const { schemas, blurred, siblings } = draft;
    const marks = [
      ...blurred.map((schema) => identities.of(schema).id),
      ...siblings.map(({ owner, chosen }) => `${owner}.${chosen}`),
    ];
    const key = `${[...seen].sort().join(",")}|${marks.sort().join(",")}`;
    let kinds = schemas.reduce((common, schema) => common & kindsOf(schema), everyKind);
    if (schemas.some((schema) => Number.isInteger(numberAt(schema, "multipleOf")))) kinds &= ~kind.fraction;
    const values = valuesOf(schemas, kinds);
    spend(schemas.length + (values?.length ?? 0));
    if (values !== null) kinds &= values.reduce<number>((all, value) => all | kindOf(value), 0);
    const texts = values && new Set(values.map(canonical));
    return kinds === 0 ? null : { ...draft, key, kinds, allKinds: allKinds | kinds, values, texts, side };
  }

  function narrowed({ blurred, siblings, incomplete, ...variant }: Variant, by: SchemaObject): Variant | null {
    const schemas = [...variant.schemas, by];
    const seen = new Set(schemas.map((schema) => identities.of(schema).id));
    return finished({ seen, schemas, blurred: [...blurred], siblings: [...siblings], incomplete }, variant.allKinds);
  }

  function distinct(list: readonly JsonSchema[], others: readonly JsonSchema[] = []): JsonSchema[] {
    const byId = new Map(list.map((schema) => [identities.of(schema).id, schema]));
    for (const other of others) byId.delete(identities.of(other).id);
    return [...byId.keys()].sort((a, b) => a - b).map((id) => byId.get(id) as JsonSchema);
  }

  const side: Side = { document, variants, narrowed, distinct, spend };
  return side;
}

function copyOf(draft: Draft): Draft {
  const { seen, schemas, blurred, siblings } = draft;
  return { ...draft, seen: new Set(seen), schemas: [...schemas], blurred: [...blurred], siblings: [...siblings] };
}

/** The variant in disjoint pieces: one for each value, or one for each type; none when it cannot be divided. */
export function pieces(variant: Variant): Variant[] {
  const { values, kinds, side } = variant;
  const parts: SchemaObject[] = values?.map((value) => ({ const: value })) ?? typesIn(kinds).map((type) => ({ type }));
  if (parts.length < 2) return [];
  return parts.map((part) => side.narrowed(variant, part)).filter((piece) => piece !== null);
}

/** All values that the schemas leave, when they list them or leave nothing but null and booleans. */
function valuesOf(schemas: readonly SchemaObject[], kinds: number): unknown[] | null {
  const lists = schemas.map(allowedValues).filter((texts) => texts !== null);
  const shortest = lists.sort((a, b) => a.size - b.size)[0];
  if (shortest === undefined && (kinds & ~(kind.null | kind.boolean)) !== 0) return null;
  const candidates: unknown[] = shortest ? [...shortest].map((text) => JSON.parse(text)) : [null, true, false];
  return candidates.filter(
    (value) => (kinds & kindOf(value)) !== 0 && !schemas.some((schema) => refuses(schema, value, false)),
  );
}

/** Branches for `enum` and `const` with lists or objects in them, so that these are compared member by member. */
function structuresOf(schema: SchemaObject): SchemaObject[] | null {
  const texts = allowedValues(schema);
  if (texts === null || ![...texts].some((text) => /^[[{]/.test(text))) return null;
  const values: unknown[] = [...texts].map((text) => JSON.parse(text));
  const scalars = values.filter((value) => typeof value !== "object" || value === null);
  const structures = values.filter((value) => typeof value === "object" && value !== null) as object[];
  return [...(scalars.length > 0 ? [{ enum: scalars }] : []), ...structures.map(structureOf)];
}

/** The schema of one list or object, told member by member. It is its own structure, so it is not unfolded again. */
function structureOf(value: object): SchemaObject {
  if (Array.isArray(value)) {
    const prefixItems = value.map((item) => ({ const: item }));
    const unique = new Set(value.map(canonical)).size === value.length;
    return { const: value, type: "array", prefixItems, items: false, minItems: value.length, uniqueItems: unique };
  }
  const properties = Object.fromEntries(Object.entries(value).map(([name, member]) => [name, { const: member }]));
  return { const: value, type: "object", properties, required: Object.keys(value), additionalProperties: false };
}
