// Which events a reader wants: streams and filters. All but `where` can be decided here; `where` is Postgres's alone.
import type { Principal } from "../base/principal.ts";
import { controlStream, type StoredEvent } from "./event.ts";

export type Selection = {
  /** Names of streams; null for all persistent ones. */
  streams: readonly string[] | null;
  types: readonly string[] | null;
  correlation: string | null;
  key: string | null;
  /** An SQL/JSON path predicate over the data. */
  where: string | null;
};

/** Whether nothing but the stream decides. */
export function isUnfiltered(selection: Selection): boolean {
  return (
    selection.types === null && selection.correlation === null && selection.key === null && selection.where === null
  );
}

/** A text that is equal for equal selections. */
export function selectionKey(selection: Selection): string {
  return JSON.stringify([selection.streams, selection.types, selection.correlation, selection.key, selection.where]);
}

/** Decides everything but `where`. */
export function createMatcher(selection: Selection, principal: Principal): (event: StoredEvent) => boolean {
  const streams = selection.streams === null ? null : new Set(selection.streams);
  const types = selection.types === null ? null : new Set(selection.types);
  const { correlation, key } = selection;
  return (event) =>
    (streams === null ? event.stream !== controlStream && !event.ephemeral : streams.has(event.stream)) &&
    (types === null || types.has(event.type)) &&
    (correlation === null || event.correlationId === correlation) &&
    (key === null || event.partitionKey === key) &&
    principal.canRead(event.stream);
}
