// Folds events into rows: those that a batch changes are read at once, folded in memory, and written at once.
import { setImmediate as turn } from "node:timers/promises";
import type { Pool, Sql } from "../../storage/pool.ts";
import type { StoredEvent } from "../../stream/event.ts";
import { contextOf, type EventContext } from "../events/recorded-event.ts";
import { type Apply, HandlerFailed, handledData, requireEvent } from "./applier.ts";
import { advance, passOver } from "./checkpoint.ts";
import { type Column, quoted } from "./columns.ts";
import type { Fold, FoldProjection, Row, RowKey } from "./definition.ts";
import { foldTable } from "./generation.ts";
import { createRowCheck } from "./row-check.ts";

/** The statements of one table. */
type Table = { qualified: string; insert: string; onConflict: string; isSame: string };

/** An event with the rows that it changes, by their keys as text. */
type Change = { fold: Fold; data: unknown; context: EventContext; rows: string[] };
type Slot = { key: RowKey; before: Row | null; now: Row | null };

/** How long events are folded without giving way to others, in milliseconds. */
const stretchMs = 10;

/** `pool`: its connections plan for probes of an index. */
export function createFold(definition: FoldProjection, schemaName: string, pool: Pool): Apply {
  const check = createRowCheck(definition);
  const folds = new Map(definition.folds.map((fold) => [fold.type?.name ?? null, fold]));
  const table = tableOf(definition, schemaName);

  /** What an event changes; its rows get their slots. */
  function changeOf(fold: Fold, event: StoredEvent, data: unknown, slots: Map<string, Slot>): Change {
    const context = contextOf(event);
    const rows = check.keys(fold.key(data, context)).map((key) => {
      const name = JSON.stringify(key);
      if (!slots.has(name)) slots.set(name, { key, before: null, now: null });
      return name;
    });
    return { fold, data, context, rows };
  }

  /** The rows as they are, in the slots of their keys. */
  async function load(slots: Map<string, Slot>): Promise<void> {
    const keys = JSON.stringify([...slots.values()].map(({ key }) => named(definition.keys, key)));
    const [found] = await pool.run(
      (sql) => sql<{ rows: string }[]>`
        select coalesce(json_agg(t), '[]')::text as rows
        from json_populate_recordset(null::${raw(sql, table.qualified)}, ${keys}::text::json) k
          join ${raw(sql, table.qualified)} t on ${raw(sql, table.isSame)}`,
    );
    for (const given of JSON.parse(found?.rows ?? "[]") as Record<string, unknown>[]) {
      const row = check.fromTable(given);
      const slot = slots.get(JSON.stringify(definition.keys.map((name) => row[name])));
      if (slot !== undefined) slot.before = slot.now = row;
    }
  }

  function foldOne({ fold, data, context, rows }: Change, slots: Map<string, Slot>): void {
    for (const name of rows) {
      const slot = slots.get(name) as Slot;
      // What a handler is given is its own: one that writes on it changes nothing that is kept.
      const given = slot.now === null ? check.initial(slot.key) : slot.now === slot.before ? { ...slot.now } : slot.now;
      slot.now = check.row(fold.apply(given, data, context, check.givenKey(slot.key)), slot.key);
    }
  }

  return async (events, step) => {
    const slots = new Map<string, Slot>();
    const changes: (Change | null)[] = [];
    let since = performance.now();
    const giveWay = async () => {
      if (performance.now() - since < stretchMs) return;
      await turn();
      since = performance.now();
    };

    for (const [at, incoming] of events.entries()) {
      await giveWay();
      const event = requireEvent(incoming, at);
      const fold = folds.get(event.type) ?? folds.get(null);
      if (fold === undefined) {
        changes.push(null);
        continue;
      }
      const data = handledData(event, fold.type, at);
      try {
        changes.push(changeOf(fold, event, data, slots));
      } catch (error) {
        throw new HandlerFailed(at, error);
      }
    }
    if (slots.size > 0) await load(slots);
    since = performance.now();
    for (const [at, change] of changes.entries()) {
      await giveWay();
      try {
        if (change !== null) foldOne(change, slots);
      } catch (error) {
        throw new HandlerFailed(at, error);
      }
    }
    const written: Row[] = [];
    const removed: Row[] = [];
    for (const { key, before, now } of slots.values()) {
      if (now !== null && now !== before) written.push(now);
      else if (now === null && before !== null) removed.push(named(definition.keys, key));
    }
    if (written.length + removed.length === 0) await passOver(pool, step);
    else
      await pool.run(
        (sql) => sql`
        with written as (
          ${raw(sql, table.insert)} from json_populate_recordset(null::${raw(sql, table.qualified)}, ${JSON.stringify(written)}::text::json)
          ${raw(sql, table.onConflict)}
        ), removed as (
          delete from ${raw(sql, table.qualified)} t
          using json_populate_recordset(null::${raw(sql, table.qualified)}, ${JSON.stringify(removed)}::text::json) k
          where ${raw(sql, table.isSame)}
        )
        select ${advance(sql, step)}`,
      );
    return step;
  };
}

const raw = (sql: Sql, text: string) => sql.unsafe(text);

function tableOf(
  { columns, keys }: { columns: readonly Column[]; keys: readonly string[] },
  schemaName: string,
): Table {
  const qualified = `${quoted(schemaName)}.${foldTable}`;
  const names = columns.map(({ name }) => quoted(name)).join(", ");
  const others = columns.filter(({ name }) => !keys.includes(name)).map(({ name }) => quoted(name));
  const conflict = `on conflict (${keys.map(quoted).join(", ")}) do`;
  return {
    qualified,
    insert: `insert into ${qualified} (${names}) select ${names}`,
    onConflict:
      others.length === 0
        ? `${conflict} nothing`
        : `${conflict} update set ${others.map((name) => `${name} = excluded.${name}`).join(", ")}`,
    isSame: keys.map((name) => `t.${quoted(name)} = k.${quoted(name)}`).join(" and "),
  };
}

function named(keys: readonly string[], key: RowKey): Row {
  return Object.fromEntries(keys.map((name, n) => [name, key[n]]));
}
