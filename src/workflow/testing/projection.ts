// Specifications of projections that fold: given these events, then these rows.
import assert from "node:assert/strict";
import type { DraftEvent } from "../events/draft-event.ts";
import type { FoldProjectionOf, KeyOf } from "../projections/define-projection.ts";
import type { Row, RowKey } from "../projections/definition.ts";
import { createRowCheck } from "../projections/row-check.ts";
import { contextOf, ofJson, same, upcast } from "./plain.ts";

export type GivenRows<Row, Key> = {
  /** The table has these rows, in whatever order they are told. */
  thenRows: (rows: readonly Row[]) => GivenRows<Row, Key>;
  /** The row of a key is this; null for none. */
  thenRow: (key: KeyOf<Row, Key>, row: Row | null) => GivenRows<Row, Key>;
};

/**
 * A projection that has got these events, one after the other. What would fail in the service fails here too: a key or a row that the
 * table cannot have, data that the schema of the event refuses. Its `streams` are not looked at: an event stands in none here.
 */
export function givenProjection<Of, Key, Before>(
  projection: FoldProjectionOf<Of, Key, Before>,
  events: readonly DraftEvent[],
): GivenRows<Of, Key> {
  const check = createRowCheck(projection);
  const table = new Map<string, { key: RowKey; row: Row }>();

  function fold(event: DraftEvent, at: number): void {
    const given = ofJson(event.data, `the data of ${event.type}`, event.schema);
    const handler =
      projection.folds.find(({ type }) => type?.name === event.type) ??
      projection.folds.find(({ type }) => type === null);
    if (handler === undefined) return;
    const data = handler.type === null ? given : upcast(handler.type, event.version, given);
    const about = contextOf(event, at);
    for (const key of check.keys(handler.key(data, about))) {
      const name = JSON.stringify(key);
      const before = table.get(name)?.row;
      const row = check.row(
        handler.apply(before === undefined ? check.initial(key) : { ...before }, data, about, check.givenKey(key)),
        key,
      );
      if (row === null) table.delete(name);
      else table.set(name, { key, row: check.fromTable(JSON.parse(JSON.stringify(row)) as Record<string, unknown>) });
    }
  }

  for (const [at, event] of events.entries()) {
    try {
      fold(event, at);
    } catch (error) {
      throw new Error(`${projection.name}, ${event.type}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }

  const keyOf = (row: Row) => JSON.stringify(projection.keys.map((name) => row[name]));
  const sorted = (rows: readonly Row[]) => [...rows].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const specification: GivenRows<Of, Key> = {
    thenRows(rows) {
      if (!Array.isArray(rows)) throw new Error("thenRows takes the rows, as an array");
      same(sorted([...table.values()].map(({ row }) => row)), sorted(rows as unknown as Row[]), "the rows");
      return specification;
    },
    thenRow(key, row) {
      const [found] = check.keys([key]);
      assert(found !== undefined);
      same(table.get(JSON.stringify(found))?.row ?? null, row, `the row of ${JSON.stringify(key)}`);
      return specification;
    },
  };
  return specification;
}
