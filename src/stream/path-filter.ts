// Evaluates payload predicates: Postgres alone does, for history and for the live end alike, so the two never differ.
import { invalidFilter } from "../base/errors.ts";
import { classify } from "../storage/pg-errors.ts";
import type { Pool } from "../storage/pool.ts";
import { predicate } from "./page.ts";

const maxPathLength = 1_000;

/** Refuses what is not an SQL/JSON path, or not a predicate (its value is not true, false or unknown). Throws `invalid-filter`. */
export async function checkPath(pool: Pool, where: string): Promise<void> {
  if (where.length > maxPathLength) throw invalidFilter(where, `A path has at most ${maxPathLength} characters`);
  if (where.includes("\0")) throw invalidFilter(where, "A path cannot contain U+0000");
  let kind: string | null;
  try {
    const rows = await pool.run(
      (sql) => sql<{ kind: string | null }[]>`
        select jsonb_typeof(jsonb_path_query_first('{}'::jsonb, ${where}::text::jsonpath, silent => true)) as kind`,
    );
    kind = rows[0]?.kind ?? null;
  } catch (error) {
    throw toFilterProblem(where, error);
  }
  if (kind !== "boolean" && kind !== "null") {
    throw invalidFilter(
      where,
      "The path must be a predicate, such as $.amount > 100; use exists($.amount) to ask whether something is there",
    );
  }
}

/** Whether a failure comes from the path itself, and would come again. */
export function isPathError(error: unknown): boolean {
  return /^(22...|42601|0A000)$/.test(classify(error).code);
}

/** `invalid-filter` for a failure that comes from the path; every other failure as it is. */
export function toFilterProblem(where: string | null, error: unknown): unknown {
  return where !== null && isPathError(error) ? invalidFilter(where, classify(error).message) : error;
}

/** Which positions of a piece of the log are still there, and which of them satisfy a path. */
export type Evaluated = { present: Set<number>; satisfying: Set<number> };

/** Evaluates a path over the data of the positions in (after, upTo]. */
export async function evaluatePath(pool: Pool, where: string, after: number, upTo: number): Promise<Evaluated> {
  const rows = await pool.run(
    (sql) => sql<{ position: string; satisfies: boolean | null }[]>`
      select e.position, ${predicate(sql, where)} as satisfies
      from events e where e.position > ${after} and e.position <= ${upTo}`,
  );
  const evaluated: Evaluated = { present: new Set(), satisfying: new Set() };
  for (const row of rows) {
    evaluated.present.add(Number(row.position));
    if (row.satisfies === true) evaluated.satisfying.add(Number(row.position));
  }
  return evaluated;
}
