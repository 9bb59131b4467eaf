// TypeScript of a schema, for those who consume its events.
import { compile } from "json-schema-to-typescript";
import type { JsonSchema } from "../json-schema/keywords.ts";
import { mapSubschemas } from "../json-schema/map-subschemas.ts";
import { relocate } from "../json-schema/relocate.ts";

type DraftSeven = Parameters<typeof compile>[0];

/** The type of data of this schema, as a module that exports it under a name. */
export async function typescriptOf(schema: JsonSchema, name: string): Promise<string> {
  // A title of the schema would be the name, and a name without letters of ASCII none at all.
  const named = typeof schema === "boolean" ? schema : { ...schema, title: undefined };
  const plain = JSON.parse(JSON.stringify(named, withoutCode)) as JsonSchema;
  return compile(asDraftSeven(relocate(plain, "#") as JsonSchema), nameOf(name), {
    bannerComment: "",
    $refOptions: { resolve: { external: false } },
  });
}

/** The generator's own keywords, of which it prints the values as they are; a schema of a property that is named so is none. */
function withoutCode(keyword: string, value: unknown): unknown {
  const isCode =
    (keyword === "tsType" && typeof value === "string") || (keyword === "tsEnumNames" && Array.isArray(value));
  return isCode ? undefined : value;
}

function nameOf(name: string): string {
  const words = name.replace(/[^A-Za-z0-9]+/g, " ").trim();
  return /^[A-Za-z]/.test(words) ? words : `Event ${words}`;
}

/** The generator knows an older draft: tuples are written otherwise there, and it trips over booleans for schemas. */
function asDraftSeven(schema: JsonSchema): DraftSeven {
  return mapSubschemas(schema, (part) => {
    if (typeof part === "boolean") return part ? {} : { not: {} };
    const { prefixItems, items, ...rest } = part;
    if (prefixItems === undefined) return items === undefined ? rest : { ...rest, items };
    return { ...rest, items: prefixItems, additionalItems: items ?? true };
  }) as DraftSeven;
}
