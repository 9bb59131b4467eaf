// Makes the references of a schema lead on from where the schema is put into something larger.
import type { JsonSchema } from "./keywords.ts";
import { mapSubschemas } from "./map-subschemas.ts";
import { subschemas } from "./subschemas.ts";

/**
 * The schema as it stands at a JSON Pointer of a document, such as `#/components/schemas/Order`, or as the document itself (`#`).
 * References by anchors become pointers; names of bases and of dialects are left out, which would change what is around them.
 */
export function relocate(schema: JsonSchema, root: string): unknown {
  const anchors = new Map<string, string>();
  for (const { pointer, schema: part } of subschemas(schema))
    if (typeof part !== "boolean" && typeof part.$anchor === "string") anchors.set(part.$anchor, pointer);
  return mapSubschemas(schema, (part) => {
    if (typeof part === "boolean") return part;
    const { $id, $schema, $anchor, ...rest } = part;
    if (typeof rest.$ref !== "string") return rest;
    const fragment = rest.$ref.slice(1);
    const pointer = fragment === "" || fragment.startsWith("/") ? fragment : anchors.get(fragment);
    return { ...rest, $ref: root + (pointer ?? "") };
  });
}
