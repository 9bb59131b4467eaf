// Writes down a schema as SQL-like text that is equal for equal schemas, whatever their name or history.
import type postgres from "postgres";
import { quoteSchema } from "./migrate.ts";

type Tx = postgres.TransactionSql;

interface Relation {
  oid: number;
  name: string;
  kind: "r" | "p" | "v" | "m";
  unlogged: boolean;
  options: string | null;
  partitionKey: string | null;
  parent: string | null;
  bound: string | null;
  definition: string | null;
  comment: string | null;
}

interface Column {
  relation: number;
  name: string;
  definition: string;
  comment: string | null;
}

/** A part that belongs to a relation: a constraint stands inside of it, the others after it. */
interface Part {
  relation: number;
  definition: string;
}

interface Parts {
  columns: Column[];
  constraints: Part[];
  indexes: Part[];
  triggers: Part[];
}

/**
 * Returns the definition of all types, sequences, tables, partitions, indexes, triggers, views and functions of the
 * schema, with their comments; not their data, owners and rights. What differs between Postgres versions is left out
 * where possible (not the formatting of view definitions), so dumps of one server are comparable, and most of any two.
 */
export async function dumpSchema(sql: postgres.Sql, schema: string): Promise<string> {
  return sql.begin("isolation level repeatable read read only", async (tx) => {
    // The catalogs then print the schema's objects without its name.
    await tx`select set_config('search_path', ${quoteSchema(schema)}, true)`;
    const relations = await readRelations(tx, schema);
    const parts: Parts = {
      columns: await readColumns(tx, schema),
      constraints: await readConstraints(tx, schema),
      indexes: await readIndexes(tx, schema),
      triggers: await readTriggers(tx, schema),
    };
    const sections = [
      "-- Generated from a migrated database; do not edit.",
      ...(await readTypes(tx, schema)),
      ...(await readSequences(tx, schema)),
      ...relations.map((relation) => printRelation(relation, parts)),
      ...(await readFunctions(tx, schema)),
    ];
    return `${sections.join("\n\n")}\n`;
  });
}

function printRelation(relation: Relation, parts: Parts): string {
  const own = <T extends { relation: number }>(items: T[]) => items.filter((item) => item.relation === relation.oid);
  const isView = relation.kind === "v" || relation.kind === "m";
  const columns = own(parts.columns);
  const statements = [
    isView ? printView(relation) : printTable(relation, columns, own(parts.constraints)),
    ...own(parts.indexes).map(({ definition }) => `${definition};`),
    ...own(parts.triggers).map(({ definition }) => `${definition};`),
    ...comment(`${isView ? "view" : "table"} ${relation.name}`, relation.comment),
    ...columns.flatMap((column) => comment(`column ${relation.name}.${column.name}`, column.comment)),
  ];
  return statements.join("\n");
}

function printView({ name, kind, options, definition }: Relation): string {
  const withOptions = options ? ` with (${options})` : "";
  return `create ${kind === "m" ? "materialized view" : "view"} ${name}${withOptions} as\n${definition?.trimEnd()}`;
}

function printTable(table: Relation, columns: Column[], constraints: Part[]): string {
  const { name, unlogged, parent, bound, partitionKey, options } = table;
  const width = Math.max(0, ...columns.map((column) => column.name.length));
  // A partition's columns are its parent's; only what it has beyond them is listed.
  const lines = [
    ...(parent ? [] : columns.map((column) => `  ${column.name.padEnd(width)} ${column.definition}`)),
    ...constraints.map(({ definition }) => `  ${definition}`),
  ];
  return [
    `create ${unlogged ? "unlogged " : ""}table ${name}`,
    parent ? ` partition of ${parent}` : "",
    lines.length > 0 ? ` (\n${lines.join(",\n")}\n)` : parent ? "" : " ()",
    bound ? ` ${bound.toLowerCase() === "default" ? "default" : bound}` : "",
    partitionKey ? ` partition by ${partitionKey}` : "",
    options ? ` with (${options})` : "",
    ";",
  ].join("");
}

function comment(object: string, text: string | null): string[] {
  return text === null ? [] : [`comment on ${object} is '${text.replaceAll("'", "''")}';`];
}

async function readRelations(tx: Tx, schema: string): Promise<Relation[]> {
  return tx<Relation[]>`
    select c.oid::int8::float8 as oid, quote_ident(c.relname) as name, c.relkind::text as kind,
           c.relpersistence = 'u' as unlogged, array_to_string(c.reloptions, ', ') as options,
           case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end as "partitionKey",
           case when c.relispartition then i.inhparent::regclass::text end as parent,
           pg_get_expr(c.relpartbound, c.oid, true) as bound,
           case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid, true) end as definition,
           obj_description(c.oid, 'pg_class') as comment
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      left join pg_inherits i on i.inhrelid = c.oid and c.relispartition
     where n.nspname = ${schema} and c.relkind in ('r', 'p', 'v', 'm') and ${notOfExtension(tx, "pg_class", "c")}
     order by c.relkind in ('v', 'm'), coalesce(i.inhparent::regclass::text, c.relname) collate "C",
              c.relispartition, c.relname collate "C"`;
}

async function readColumns(tx: Tx, schema: string): Promise<Column[]> {
  // The flag attnotnull, and not the constraints for it, which are listed from Postgres 18 on only.
  return tx<Column[]>`
    select c.oid::int8::float8 as relation, quote_ident(a.attname) as name,
           col_description(c.oid, a.attnum) as comment,
           concat_ws(' ',
             format_type(a.atttypid, a.atttypmod),
             case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation::text end,
             case when a.attstorage <> t.typstorage then 'storage ' ||
               case a.attstorage when 'p' then 'plain' when 'e' then 'external' when 'x' then 'extended' else 'main' end
             end,
             case a.attcompression when 'l' then 'compression lz4' when 'p' then 'compression pglz' end,
             case when a.attnotnull then 'not null' end,
             case a.attidentity when 'a' then 'generated always as identity'
                                when 'd' then 'generated by default as identity' end,
             case when d.oid is null then null
                  when a.attgenerated = '' then 'default ' || pg_get_expr(d.adbin, d.adrelid, true)
                  else 'generated always as (' || pg_get_expr(d.adbin, d.adrelid, true) || ')' ||
                       case a.attgenerated when 's' then ' stored' else ' virtual' end
             end) as definition
      from pg_attribute a
      join pg_class c on c.oid = a.attrelid
      join pg_namespace n on n.oid = c.relnamespace
      join pg_type t on t.oid = a.atttypid
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where n.nspname = ${schema} and a.attnum > 0 and not a.attisdropped
     order by c.oid, a.attnum`;
}

async function readConstraints(tx: Tx, schema: string): Promise<Part[]> {
  return tx<Part[]>`
    select k.conrelid::int8::float8 as relation,
           'constraint ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid, true) as definition
      from pg_constraint k
      join pg_namespace n on n.oid = k.connamespace
     where n.nspname = ${schema} and k.conrelid <> 0 and k.contype in ('p', 'u', 'c', 'f', 'x')
       and k.conislocal and k.conparentid = 0
     order by k.conrelid, position(k.contype::text in 'puxcf'), k.conname collate "C"`;
}

// Neither those that stand behind a constraint nor those that a partition has from its parent.
async function readIndexes(tx: Tx, schema: string): Promise<Part[]> {
  return tx<Part[]>`
    select x.indrelid::int8::float8 as relation, pg_get_indexdef(x.indexrelid, 0, true) as definition
      from pg_index x
      join pg_class c on c.oid = x.indexrelid
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = ${schema} and not c.relispartition
       and not exists (select from pg_constraint k where k.conindid = x.indexrelid and k.contype in ('p', 'u', 'x'))
     order by x.indrelid, c.relname collate "C"`;
}

async function readTriggers(tx: Tx, schema: string): Promise<Part[]> {
  return tx<Part[]>`
    select g.tgrelid::int8::float8 as relation, pg_get_triggerdef(g.oid, true) as definition
      from pg_trigger g
      join pg_class c on c.oid = g.tgrelid
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = ${schema} and not g.tgisinternal and g.tgparentid = 0
     order by g.tgrelid, g.tgname collate "C"`;
}

async function readTypes(tx: Tx, schema: string): Promise<string[]> {
  const rows = await tx<{ definition: string }[]>`
    select case t.typtype
             when 'e' then 'create type ' || quote_ident(t.typname) || ' as enum (' ||
               (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
                  from pg_enum e where e.enumtypid = t.oid) || ');'
             when 'd' then 'create domain ' || concat_ws(' ',
               quote_ident(t.typname) || ' as ' || format_type(t.typbasetype, t.typtypmod),
               case when t.typnotnull then 'not null' end, 'default ' || t.typdefault,
               (select string_agg('constraint ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid, true),
                                  ' ' order by k.conname collate "C")
                  from pg_constraint k where k.contypid = t.oid and k.contype = 'c')) || ';'
             else 'create type ' || quote_ident(t.typname) || ' as (' ||
               (select string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                                  order by a.attnum)
                  from pg_attribute a where a.attrelid = t.typrelid and not a.attisdropped) || ');'
           end as definition
      from pg_type t
      join pg_namespace n on n.oid = t.typnamespace
      left join pg_class c on c.oid = t.typrelid
     where n.nspname = ${schema} and (t.typtype in ('e', 'd') or c.relkind = 'c') and ${notOfExtension(tx, "pg_type", "t")}
     order by t.typname collate "C"`;
  return rows.map(({ definition }) => definition);
}

// Not those of identity columns, which the column tells.
async function readSequences(tx: Tx, schema: string): Promise<string[]> {
  const rows = await tx<{ definition: string }[]>`
    select format('create sequence %I as %s increment %s minvalue %s maxvalue %s start %s cache %s%s;', c.relname,
                  format_type(s.seqtypid, null), s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache,
                  case when s.seqcycle then ' cycle' else '' end) as definition
      from pg_sequence s
      join pg_class c on c.oid = s.seqrelid
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = ${schema}
       and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'i')
     order by c.relname collate "C"`;
  return rows.map(({ definition }) => definition);
}

async function readFunctions(tx: Tx, schema: string): Promise<string[]> {
  const rows = await tx<{ definition: string; object: string; comment: string | null }[]>`
    select pg_get_functiondef(p.oid) as definition, obj_description(p.oid, 'pg_proc') as comment,
           case p.prokind when 'p' then 'procedure ' else 'function ' end || p.oid::regprocedure::text as object
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace
     where n.nspname = ${schema} and p.prokind in ('f', 'p', 'w') and ${notOfExtension(tx, "pg_proc", "p")}
     order by p.proname collate "C", pg_get_function_identity_arguments(p.oid) collate "C"`;
  // Of all definitions this one alone has the schema's name in it, always.
  const prefix = /^(CREATE OR REPLACE (?:FUNCTION|PROCEDURE) )(?:"(?:[^"]|"")+"|[^".(]+)\./;
  return rows.map((row) =>
    [`${row.definition.replace(prefix, "$1").trimEnd()};`, ...comment(row.object, row.comment)].join("\n"),
  );
}

function notOfExtension(tx: Tx, catalog: "pg_class" | "pg_type" | "pg_proc", alias: "c" | "t" | "p") {
  return tx`not exists (
    select from pg_depend e
     where e.classid = ${catalog}::regclass and e.objid = ${tx(alias)}.oid and e.deptype = 'e')`;
}
