// What processes have come to when all is quiet: the log, the sagas, the outbox and what its writers have committed.
import type postgres from "postgres";
import { logDefects } from "../support/sql.ts";

export type ProcessEvent = {
  position: number;
  stream: string;
  offset: number;
  id: string;
  type: string;
  correlationId: string | null;
  partitionKey: string | null;
  /** Milliseconds since 1970, by the clock of the database. */
  recordedAt: number;
  data: Record<string, unknown>;
};

/** A saga as the API lists it, with its data. */
export type SagaSeen = {
  sagaId: string;
  saga: string;
  correlationId: string;
  state: string;
  completedSteps: string[];
  compensatedSteps: string[];
  data: { mark: string; confirmed?: string };
};

/** How a projection stands, as the API says it. */
export type ModelStatus = {
  projection: string;
  state: string;
  position: number;
  head: number;
  lag: number;
  eventsProcessed: number;
};

export type ProcessSnapshot = {
  /** All events of all streams, but for the service's own records. */
  events: ProcessEvent[];
  /** What the log itself is found to break. */
  defects: string[];
  sagas: SagaSeen[];
  models: ModelStatus[];
  /** Marks of rows in transactions that were committed, as often as they were. */
  written: string[];
  /** Marks of rows that are still in the outbox. */
  waiting: { mark: string; failure: string | null }[];
};

type Row = Omit<ProcessEvent, "position" | "offset" | "recordedAt" | "data"> & {
  position: string;
  offset: string;
  recordedAt: Date;
  data: string | null;
};

export async function readProcesses(
  sql: postgres.Sql,
  url: string,
  projections: readonly string[],
): Promise<ProcessSnapshot> {
  await sql`set search_path to event_streaming, public`;
  const rows = await sql<Row[]>`
    select e.position, s.name as stream, e."offset", e.id, e.type, e.correlation_id as "correlationId",
           e.partition_key as "partitionKey", e.recorded_at as "recordedAt", e.data::text as data
    from events e join streams s on s.id = e.stream_id where not s.internal order by e.position`;
  const written = await sql<{ mark: string }[]>`select mark from harness.written`;
  const waiting = await sql<{ mark: string | null; type: string; failure: string | null }[]>`
    select data ->> 'mark' as mark, type, failure from outbox order by id`;
  return {
    events: rows.map(({ position, offset, recordedAt, data, ...row }) => ({
      ...row,
      position: Number(position),
      offset: Number(offset),
      recordedAt: recordedAt.getTime(),
      data: JSON.parse(data ?? "{}"),
    })),
    defects: await logDefects(sql),
    sagas: await readSagas(sql, url),
    models: await Promise.all(projections.map((projection) => readStatus(url, projection))),
    written: written.map(({ mark }) => mark),
    waiting: waiting.map(({ mark, type, failure }) => ({ mark: mark ?? type, failure })),
  };
}

type SagaPage = { sagas: Omit<SagaSeen, "data">[]; next: string | null };

async function readSagas(sql: postgres.Sql, url: string): Promise<SagaSeen[]> {
  const data = await sql<{ id: string; data: string }[]>`select id, data::text as data from sagas`;
  const byId = new Map(data.map((row) => [row.id, JSON.parse(row.data)]));
  const sagas: SagaSeen[] = [];
  for (let next: string | null = "/api/sagas?limit=1000"; next !== null; ) {
    const page: SagaPage = await ask(url + next);
    for (const { sagaId, saga, correlationId, state, completedSteps, compensatedSteps } of page.sagas)
      sagas.push({
        ...{ sagaId, saga, correlationId, state, completedSteps, compensatedSteps },
        data: byId.get(sagaId) ?? {},
      });
    next = page.next;
  }
  if (sagas.length !== byId.size)
    throw new Error(`${sagas.length} sagas are listed, and ${byId.size} are in the table`);
  return sagas;
}

export async function readStatus(url: string, projection: string): Promise<ModelStatus & { isRebuilt: boolean }> {
  const status = await ask<
    Record<"state" | "position" | "head" | "lag" | "eventsProcessed", string> & { rebuild: unknown }
  >(`${url}/api/projections/${projection}/status`);
  return {
    projection,
    state: status.state,
    position: Number(status.position),
    head: Number(status.head),
    lag: Number(status.lag),
    eventsProcessed: Number(status.eventsProcessed),
    isRebuilt: status.rebuild === null,
  };
}

async function ask<T>(url: string): Promise<T> {
  const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}
