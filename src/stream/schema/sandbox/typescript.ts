// TypeScript of a schema, for those who consume its events.
import { compile } from "json-schema-to-typescript";
import type { JsonSchema } from "../json-schema/keywords.ts";
import { mapSubschemas } from "../json-schema/map-subschemas.ts";

type DraftSeven = Parameters<typeof compile>[0];

/** The type of data of this schema, as a module that exports it under a name. */
export async function typescriptOf(schema: JsonSchema, name: string): Promise<string> {
  return compile(asDraftSeven(schema), name, {
    bannerComment: "",
    $refOptions: { resolve: { external: false } },
  });
}

/** The generator knows an older draft: tuples are written otherwise there, and it trips over booleans for schemas. */
function asDraftSeven(schema: JsonSchema): DraftSeven {
  return mapSubschemas(schema, (part) => {
    if (typeof part === "boolean") return part ? {} : { not: {} };
    const { prefixItems, items, $id, $schema, ...rest } = part;
    if (prefixItems === undefined) return items === undefined ? rest : { ...rest, items };
    return { ...rest, items: prefixItems, additionalItems: items ?? true };
  }) as DraftSeven;
}
