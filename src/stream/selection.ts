// Which events a reader wants: streams and filters. All but `where` can be decided here; `where` is Postgres's alone.
import type { Principal } from "../base/principal.ts";
import { controlStream, type StoredEvent } from "./event.ts";

export type Selection = {
  /** Names of streams; null for all persistent ones. */
  streams: readonly string[] | null;
  types: readonly string[] | null;
  correlation: string | null;
  key: string | null;
  /** The `subject`; undefined for any. */
  subject?: string;
  /** An SQL/JSON path predicate over the data. */
  where: string | null;
};

/** Whether nothing but the stream decides. */
export function isUnfiltered(selection: Selection): boolean {
  return (
    selection.types === null &&
    selection.correlation === null &&
    selection.key === null &&
    selection.subject === undefined &&
    selection.where === null
  );
}

/** A text that is equal for equal selections. */
export function selectionKey(selection: Selection): string {
  const { streams, types, correlation, key, subject = null, where } = selection;
  return JSON.stringify([streams, types, correlation, key, subject, where]);
}

/** Decides everything but `where`. */
export function createMatcher(selection: Selection, principal: Principal): (event: StoredEvent) => boolean {
  const streams = selection.streams === null ? null : new Set(selection.streams);
  const types = selection.types === null ? null : new Set(selection.types);
  const { correlation, key, subject } = selection;
  return (event) =>
    (streams === null ? event.stream !== controlStream && !event.ephemeral : streams.has(event.stream)) &&
    (types === null || types.has(event.type)) &&
    (correlation === null || event.correlationId === correlation) &&
    (key === null || event.partitionKey === key) &&
    (subject === undefined || (JSON.parse(event.attributes) as { subject?: unknown }).subject === subject) &&
    principal.canRead(event.stream);
}
