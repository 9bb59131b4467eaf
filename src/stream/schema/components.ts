// The registered schemas as components of an API's document, in which references lead elsewhere than in a schema alone.
import { setImmediate as turn } from "node:timers/promises";
import type { Pool } from "../../storage/pool.ts";
import { isObject, type JsonSchema, places, type SchemaObject } from "./json-schema/keywords.ts";
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

export type SchemaComponents = {
  /** In the order of types and versions. */
  components: SchemaComponent[];
  /** How many versions are registered that are not among them. */
  leftOut: number;
};

const maxVersions = 500;
/** Of all schemas, and of one: it must not take the room of the others. */
const maxBytes = 1_000_000;
const maxSchemaBytes = 100_000;
/** How long the schemas of a document are worked on before others have their turn. */
const sliceMs = 10;

type Row = { type: string; version: number; description: string | null; schema: string | null; registered: number };

/**
 * The newest versions of types first as far as there is room. A schema without room is not read: its component says where
 * it is served. `pointer` says where in the document the schema of a component stands, as `#/components/schemas/Order.v1`.
 */
export async function readComponents(pool: Pool, pointer: (name: string) => string): Promise<SchemaComponents> {
  const rows = await pool.run(
    (sql) => sql<Row[]>`
      select s.type, s.version, s.description, s.registered,
             case when s.bytes <= ${maxSchemaBytes} and s.bytes_so_far <= ${maxBytes} then s.schema::text end as schema
      from (
        select n.*, sum(case when n.bytes <= ${maxSchemaBytes} then n.bytes else 0 end)
                      over (order by n.age, n.type rows unbounded preceding) as bytes_so_far
        from (
          select r.*, octet_length(r.schema::text) as bytes
          from (
            select v.type, v.version, v.description, v.schema, (count(*) over ())::integer as registered,
                   row_number() over (partition by v.type order by v.version desc) as age
            from schema_versions v
          ) r
          order by r.age, r.type limit ${maxVersions}
        ) n
      ) s`,
  );
  const names = new Set<string>();
  const components: SchemaComponent[] = [];
  let began = performance.now();
  for (const { type, version, description, schema } of rows.sort(byTypeAndVersion)) {
    const name = unusedName(`${type}.v${version}`, names);
    const served = `GET /api/schemas/${encodeURIComponent(type)}/versions/${version} serves it`;
    const placed =
      schema === null
        ? { description: `${served}: there is no room for it in this document` }
        : asComponent(JSON.parse(schema) as JsonSchema, pointer(name), served);
    components.push({ name, type, version, description, schema: placed });
    if (performance.now() - began < sliceMs) continue;
    await turn();
    began = performance.now();
  }
  return { components, leftOut: (rows[0]?.registered ?? 0) - rows.length };
}

function byTypeAndVersion(a: Row, b: Row): number {
  if (a.type === b.type) return a.version - b.version;
  return a.type < b.type ? -1 : 1;
}

/** A component's name has letters, digits, dots, hyphens and underscores (OpenAPI 3.1, section 4.8.7; AsyncAPI 3.0 alike). */
export function unusedName(wanted: string, names: Set<string>): string {
  const base = wanted.replace(/[^A-Za-z0-9._-]/g, "_");
  let name = base;
  for (let n = 2; names.has(name); n++) name = `${base}_${n}`;
  names.add(name);
  return name;
}

/** What names bases of its own inside, or refers dynamically, means something else within a document: it is only served alone. */
function asComponent(schema: JsonSchema, root: string, served: string): unknown {
  for (const { pointer, schema: part } of subschemas(schema)) {
    if (typeof part === "boolean") continue;
    const hasBase = pointer !== "" && part.$id !== undefined;
    if (hasBase || part.$dynamicRef !== undefined || part.$dynamicAnchor !== undefined || looksLikeReference(part))
      return { description: `${served}: within this document its references would lead elsewhere` };
  }
  return relocate(schema, root);
}

/** Readers of documents follow whatever looks like a reference, also where a schema only has data or a member of that name. */
function looksLikeReference(part: SchemaObject): boolean {
  return Object.entries(part).some(([keyword, value]) => {
    const place = places.get(keyword);
    if (place === "map") return isObject(value) && Object.hasOwn(value, "$ref");
    return place === undefined && keyword !== "$ref" && hasReference(value);
  });
}

function hasReference(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasReference);
  return isObject(value) && (Object.hasOwn(value, "$ref") || Object.values(value).some(hasReference));
}
