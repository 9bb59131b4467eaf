// When two schemas, or two values, are equal: their canonical text, and numbers for what schemas assert.
import { assertions, isObject, isSchema, type JsonSchema, places, type SchemaObject } from "./keywords.ts";

/** JSON with sorted keys and without white space: equal for equal JSON values, whatever the order of their members. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  // Code may write a member as undefined, which JSON leaves out.
  const members = Object.keys(value)
    .filter((name) => value[name] !== undefined)
    .sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

/** Equal numbers assert the same, as far as the references in them lead to the same. */
export type Identity = { id: number; references: readonly string[] };

export type Identities = { of(schema: JsonSchema): Identity };

/** Gives schemas their numbers, in time linear in their size. Annotations, definitions and unknown keywords do not count. */
export function createIdentities(): Identities {
  const byText = new Map<string, Identity>();
  const bySchema = new WeakMap<SchemaObject, Identity>();

  function numbered(text: string, references: readonly string[]): Identity {
    let identity = byText.get(text);
    if (identity === undefined) {
      identity = { id: byText.size, references };
      byText.set(text, identity);
    }
    return identity;
  }

  function of(schema: JsonSchema): Identity {
    if (typeof schema === "boolean") return numbered(String(schema), []);
    const known = bySchema.get(schema);
    if (known !== undefined) return known;
    const references = new Set<string>();
    const inner = (value: unknown): string => {
      if (!isSchema(value)) return canonical(value);
      const identity = of(value);
      for (const reference of identity.references) references.add(reference);
      return `#${identity.id}`;
    };
    const held = (keyword: string, value: unknown): string => {
      const place = places.get(keyword);
      if (place === "schema") return inner(value);
      if (place === "list" && Array.isArray(value)) return `[${value.map(inner).join(",")}]`;
      if (place !== "map" || !isObject(value)) return canonical(value);
      const names = Object.keys(value).sort();
      return `{${names.map((name) => `${JSON.stringify(name)}:${inner(value[name])}`).join(",")}}`;
    };
    const parts: string[] = [];
    for (const keyword of Object.keys(schema).sort()) {
      if (!assertions.has(keyword)) continue;
      const value = schema[keyword];
      if (/^\$(ref|dynamicRef)$/.test(keyword) && typeof value === "string") references.add(value);
      parts.push(`${keyword}:${held(keyword, value)}`);
    }
    const identity = numbered(parts.join(";"), references.size === 0 ? [] : [...references]);
    bySchema.set(schema, identity);
    return identity;
  }

  return { of };
}
