// The registered schemas as components of an API's document, in which references lead elsewhere than in a schema alone.
import type { Pool } from "../../storage/pool.ts";
import type { JsonSchema } from "./json-schema/keywords.ts";
import { relocate } from "./json-schema/relocate.ts";
import { subschemas } from "./json-schema/subschemas.ts";

/** A version of a type whose data a component describes. */
export type SchemaComponent = {
  name: string;
  type: string;
  version: number;
  description: string | null;
  schema: unknown;
};

const maxVersions = 500;
const maxBytes = 1_000_000;

/** The newest versions of types first as far as there is room, in the order of types and versions. */
export async function readComponents(pool: Pool): Promise<SchemaComponent[]> {
  const rows = await pool.run(
    (sql) => sql<{ type: string; version: number; description: string | null; schema: string }[]>`
      select s.type, s.version, s.description, s.schema::text as schema
      from (
        select r.*, sum(r.bytes) over (order by r.age, r.type rows unbounded preceding) as bytes_so_far
        from (
          select v.type, v.version, v.description, v.schema, octet_length(v.schema::text) as bytes,
                 row_number() over (partition by v.type order by v.version desc) as age
          from schema_versions v
        ) r
      ) s
      where s.bytes_so_far <= ${maxBytes}
      order by s.age, s.type limit ${maxVersions}`,
  );
  const names = new Set<string>();
  return rows
    .sort((a, b) => (a.type === b.type ? a.version - b.version : a.type < b.type ? -1 : 1))
    .map(({ type, version, description, schema }) => {
      const name = unusedName(`${type}.v${version}`, names);
      return {
        name,
        type,
        version,
        description,
        schema: asComponent(JSON.parse(schema) as JsonSchema, name),
      };
    });
}

/** A component's name has letters, digits, dots, hyphens and underscores (OpenAPI 3.1, section 4.8.7). */
function unusedName(wanted: string, names: Set<string>): string {
  const base = wanted.replace(/[^A-Za-z0-9._-]/g, "_");
  let name = base;
  for (let n = 2; names.has(name); n++) name = `${base}_${n}`;
  names.add(name);
  return name;
}

/** What names bases of its own inside, or refers dynamically, means something else within a document: it is only served alone. */
function asComponent(schema: JsonSchema, name: string): unknown {
  for (const { pointer, schema: part } of subschemas(schema)) {
    if (typeof part === "boolean") continue;
    const hasBase = pointer !== "" && part.$id !== undefined;
    if (hasBase || part.$dynamicRef !== undefined || part.$dynamicAnchor !== undefined)
      return { description: "GET /api/schemas serves it: within this document its references would lead elsewhere" };
  }
  return relocate(schema, `#/components/schemas/${name}`);
}
