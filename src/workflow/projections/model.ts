// What code that answers for a read model is given: its rows, and SQL on its tables, all of one moment.
import type { ProjectionSql } from "./definition.ts";

/** The tables of a projection as of one position, which nobody writes to meanwhile. */
export type SqlModel = {
  /** Everything up to here is in the tables. */
  readonly position: number;
  /** SQL that reads; its search path is the schema of the tables. */
  readonly sql: ProjectionSql;
};

export type RowsModel<Row, Key> = SqlModel & {
  /** The row of a key; null when there is none. */
  get: (key: Key) => Promise<Row | null>;
  /** Rows in the order of their keys: those behind a key, at most `limit` (default: 100). */
  page: (options?: { after?: Key; limit?: number }) => Promise<Row[]>;
};
