// What a projection answers: rows by pages, one row, or what its module makes of them; always as of one position.
import type { TObject, TSchema } from "@sinclair/typebox";
import type postgres from "postgres";
import { internalError } from "../../base/errors.ts";
import { searchPath } from "../../storage/migrate.ts";
import { classify } from "../../storage/pg-errors.ts";
import type { Pool } from "../../storage/pool.ts";
import { Rejection } from "../commands/rejection.ts";
import { checkerOf } from "../handlers/checker.ts";
import { withTimeLimit } from "../handlers/time-limit.ts";
import type { ProjectionDefinition, ProjectionSql, ReadDefinition, Row } from "./definition.ts";
import {
  definitionHash,
  fromGenerationRow,
  type Generation,
  type GenerationRow,
  generationColumns,
  readSchema,
} from "./generation.ts";
import { viewMark } from "./generations.ts";
import type { RowsModel } from "./model.ts";
import { keyFrom, parseKey, printKey, readRow, readRows } from "./rows.ts";
import { guardTransaction } from "./transaction-guard.ts";

/** Why there is no answer: no such projection; none yet; no such row; a key or a query that is none. */
export type Unanswered =
  | { unanswered: "not-found" }
  | { unanswered: "not-ready" }
  | { unanswered: "no-row" }
  | { unanswered: "invalid"; parameter: string; detail: string };

export type Answered<Body> = { position: number; body: Body };

export type RowsPage = { rows: Row[] /** The key of the last row, where there are more. */; next: string | null };

/** Whoever's signal fires waits no longer. */
export type ReadModels = {
  /** What can be asked of a projection whose module answers for it; null: rows by pages. */
  parameters: (projection: string) => string[] | null;
  page: (
    projection: string,
    after: string | null,
    limit: number,
    signal: AbortSignal,
  ) => Promise<Answered<RowsPage | Views> | Unanswered>;
  row: (projection: string, key: string, signal: AbortSignal) => Promise<Answered<Row> | Unanswered>;
  /** What the module makes of a query. */
  answer: (projection: string, query: URLSearchParams, signal: AbortSignal) => Promise<Answered<unknown> | Unanswered>;
};

/** Of a projection whose tables are read by SQL alone. */
export type Views = { views: string[] };

export type ReadModelsOptions = {
  definitions: ReadonlyMap<string, ProjectionDefinition>;
  serviceSchema: string;
  reads: Pool;
  answers: Pool;
};

/** How long a module may take to answer, in milliseconds. */
const answerMs = 5_000;
const pageRows = 100;
/** The tables were dropped between two statements: others are in their place. */
const gone = new Set(["42P01", "3F000"]);
const maxLooks = 3;
/** What a module did, and not a database that is away: it wrote where it can only read, or took too long. */
const ofModule = new Set(["25006", "57014"]);

type Transaction = postgres.TransactionSql;

export function createReadModels({ definitions, serviceSchema, reads, answers }: ReadModelsOptions): ReadModels {
  /** Runs the task on the generation that answers, in a transaction that sees one moment; again when that was just swapped. */
  async function looking<T>(
    pool: Pool,
    projection: string,
    signal: AbortSignal,
    task: (transaction: Transaction, live: Generation) => Promise<T>,
  ): Promise<T | Unanswered> {
    for (let look = 1; ; look++) {
      try {
        const answered = await pool.run(
          (sql) =>
            sql.begin("isolation level repeatable read read only", async (transaction) => {
              const [row] = await transaction<(GenerationRow | { generation: null })[]>`
              select ${generationColumns(transaction)} from projections p
                left join projection_generations g on g.projection = p.name and g.role = 'live'
              where p.name = ${projection}`;
              if (row === undefined) return { unanswered: "not-found" as const };
              if (row.generation === null) return { unanswered: "not-ready" as const };
              return task(transaction, fromGenerationRow(row as GenerationRow));
            }),
          signal,
        );
        // The driver's type allows for lists of promises.
        return answered as T | Unanswered;
      } catch (error) {
        if (look === maxLooks || !gone.has(classify(error).code)) throw error;
      }
    }
  }

  function modelOf(sql: ProjectionSql, { schemaName, about, position }: Generation): RowsModel<Row, unknown> {
    const of = { schemaName, about };
    return {
      position,
      sql,
      get: (key) => readRow(sql, of, keyFrom(about, key)),
      page: ({ after, limit = pageRows } = {}) =>
        readRows(sql, of, after === undefined ? null : keyFrom(about, after), limit),
    };
  }

  return {
    parameters(projection) {
      const reading = definitions.get(projection)?.reading ?? null;
      return reading === null ? null : Object.keys(reading.query?.properties ?? {});
    },
    page: (projection, after, limit, signal) =>
      looking(reads, projection, signal, async (transaction, live) => {
        const { about, position } = live;
        if (about.form === "sql") return { position, body: { views: await viewsOf(transaction, projection) } };
        const key = after === null ? null : parseKey(about, after);
        if (after !== null && key === null) return invalidKey("after", live);
        const found = await readRows(transaction, live, key, limit + 1);
        const rows = found.slice(0, limit);
        return { position, body: { rows, next: found.length > limit ? printKey(about, rows.at(-1) as Row) : null } };
      }),
    row: (projection, text, signal) =>
      looking(reads, projection, signal, async (transaction, live) => {
        const { about, position } = live;
        const key = about.form === "sql" ? null : parseKey(about, text);
        if (key === null) return invalidKey("key", live);
        const row = await readRow(transaction, live, key);
        return row === null ? { unanswered: "no-row" as const } : { position, body: row };
      }),
    answer(projection, query, signal) {
      const definition = definitions.get(projection) as ProjectionDefinition;
      const { query: schema, answer } = definition.reading as ReadDefinition;
      const given = schema === null ? {} : readValues(schema, query);
      if ("unanswered" in given) return Promise.resolve(given as Unanswered);
      return looking(answers, projection, signal, async (transaction, live) => {
        await transaction`
          select set_config('search_path', ${searchPath(live.schemaName)}, true),
                 set_config('statement_timeout', ${String(answerMs)}, true)`;
        const guard = guardTransaction(transaction as ProjectionSql);
        const model = modelOf(guard.sql, live);
        try {
          const body = await withTimeLimit(answerMs, () => answer(model as never, given as never), signal);
          return body === undefined ? { unanswered: "no-row" as const } : { position: live.position, body };
        } catch (error) {
          // Tables of another definition answer meanwhile, as far as this one can read them.
          if (error instanceof Rejection)
            return { unanswered: "invalid" as const, parameter: "query", detail: error.message };
          if (signal.aborted) throw error;
          if (live.definition === definitionHash(definition))
            throw ofModule.has(classify(error).code) ? internalError(error) : error;
          return { unanswered: "not-ready" as const };
        } finally {
          guard.close();
        }
      });
    },
  };

  async function viewsOf(transaction: Transaction, projection: string): Promise<string[]> {
    const views = readSchema(serviceSchema);
    const rows = await transaction<{ name: string }[]>`
      select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = ${views} and c.relkind = 'v' and obj_description(c.oid, 'pg_class') = ${viewMark(projection)}
      order by c.relname`;
    return rows.map(({ name }) => `${views}.${name}`);
  }
}

function invalidKey(parameter: string, { about }: Generation): Unanswered {
  const { keys } = about;
  const detail =
    about.form === "sql"
      ? "this projection has no rows with a key"
      : keys.length === 1
        ? `${parameter} is the ${keys[0]} of a row`
        : `${parameter} is a JSON array of ${keys.join(", ")}`;
  return { unanswered: "invalid", parameter, detail };
}

type Property = TSchema & { type?: string; default?: unknown };

/** The values of a query as its schema has them: numbers and booleans are made of their texts. */
function readValues(schema: TObject, query: URLSearchParams): Record<string, unknown> | Unanswered {
  const values: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(schema.properties) as [string, Property][]) {
    const text = query.get(name);
    if (text !== null) values[name] = readValue(property, text);
    else if (property.default !== undefined) values[name] = property.default;
  }
  // What no column holds is no value to look for either.
  const odd = Object.entries(values).find(([, value]) => !isStorable(value));
  if (odd !== undefined)
    return { unanswered: "invalid", parameter: odd[0], detail: `${odd[0]} is no value that a table can have` };
  const [violation] = checkerOf(schema)(values) ?? [];
  if (violation === undefined) return values;
  const parameter = violation.path.split("/")[1] ?? "query";
  return { unanswered: "invalid", parameter, detail: `${parameter} ${violation.message}` };
}

function readValue({ type }: Property, text: string): unknown {
  if (type === "integer" || type === "number") return text.trim() === "" ? text : Number(text);
  if (type === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}

function isStorable(value: unknown): boolean {
  if (typeof value === "string") return value.isWellFormed() && !value.includes("\0");
  return typeof value !== "number" || !Number.isInteger(value) || Number.isSafeInteger(value);
}
