// Makes another schema of a schema, one place where a schema stands after the other, the inner ones first.
import { isObject, isSchema, type JsonSchema, places } from "./keywords.ts";

export type SchemaObject = Record<string, unknown>;

/** Calls back with each schema, in which the ones inside it have been replaced already; deep ones are no deeper calls than they are deep. */
export function mapSubschemas(schema: JsonSchema, change: (part: boolean | SchemaObject) => unknown): unknown {
  if (typeof schema === "boolean") return change(schema);
  const changed: SchemaObject = {};
  for (const [keyword, value] of Object.entries(schema)) changed[keyword] = mapKeyword(keyword, value, change);
  return change(changed);
}

function mapKeyword(keyword: string, value: unknown, change: (part: boolean | SchemaObject) => unknown): unknown {
  const inner = (item: unknown) => (isSchema(item) ? mapSubschemas(item, change) : item);
  switch (places.get(keyword)) {
    case "schema":
      return inner(value);
    case "list":
      return Array.isArray(value) ? value.map(inner) : value;
    case "map":
      return isObject(value)
        ? Object.fromEntries(Object.entries(value).map(([name, item]) => [name, inner(item)]))
        : value;
    default:
      return value;
  }
}
