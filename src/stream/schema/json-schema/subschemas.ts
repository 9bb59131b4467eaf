// Walks over a JSON Schema, draft 2020-12: every place where a schema stands, with its JSON Pointer (RFC 6901).
import { pointerToken } from "../../../base/json-pointer.ts";
import { isObject, isSchema, type JsonSchema, places } from "./keywords.ts";

export type Subschema = { pointer: string; schema: JsonSchema };

/**
 * The schema itself (pointer "") and all schemas inside it, each before those inside it, in the order of the text.
 * Data that look like schemas (in `enum`, `const`, `default`, `examples`, unknown keywords) are not visited.
 */
export function* subschemas(schema: JsonSchema): Generator<Subschema> {
  // A stack of its own: the depth of a schema is not the depth of calls.
  const ahead: Subschema[] = [{ pointer: "", schema }];
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    yield next;
    const inside = children(next);
    for (let i = inside.length - 1; i >= 0; i--) ahead.push(inside[i] as Subschema);
  }
}

function children({ pointer, schema }: Subschema): Subschema[] {
  const found: Subschema[] = [];
  const add = (at: string, value: unknown) => {
    if (isSchema(value)) found.push({ pointer: at, schema: value });
  };
  if (typeof schema === "boolean") return found;
  for (const [keyword, value] of Object.entries(schema)) {
    const place = places.get(keyword);
    const at = pointer + pointerToken(keyword);
    if (place === "schema") add(at, value);
    else if (place === "list" && Array.isArray(value)) {
      for (const [index, item] of value.entries()) add(at + pointerToken(index), item);
    } else if (place === "map" && isObject(value)) {
      for (const [name, item] of Object.entries(value)) add(at + pointerToken(name), item);
    }
  }
  return found;
}
