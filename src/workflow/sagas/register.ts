// The sagas that there are: finds them by id, and lists them by name, state and correlation.

import { nameList } from "../../storage/lists.ts";
import type { Fragment, Pool, Sql } from "../../storage/pool.ts";
import { type Instance, instanceColumns, instanceOf, type SagaRow } from "./instance.ts";
import { type SagaState, sagaStates } from "./progress.ts";

/** A saga as people are told of it; times are RFC 3339. */
export type SagaStatus = {
  sagaId: string;
  correlationId: string;
  saga: string;
  state: SagaState;
  paused: boolean;
  cancelRequested: boolean;
  /** Steps that are completed, of all: `2/3`. */
  progress: string;
  /** The step that is under way or comes next, counted from 0: so many are completed. */
  currentStep: number;
  totalSteps: number;
  /** Its name. */
  step: string | null;
  completedSteps: readonly string[];
  compensatedSteps: readonly string[];
  /** Failed: what is left to be compensated. */
  undone: readonly string[];
  /** Failed attempts at the current step or compensation. */
  failures: number;
  error: string | null;
  failedStep: string | null;
  compensationError: string | null;
  /** The type of the event that it waits for. */
  waitingFor: string | null;
  /** When a rest, a sleep or a wait is over. */
  dueAt: string | null;
  deadlineAt: string | null;
  startedAt: string;
  updatedAt: string;
  endedAt: string | null;
};

export type FoundSaga = { instance: Instance; status: SagaStatus; data: unknown };

export type SagaQuery = {
  saga: string | null;
  state: SagaState | null;
  correlation: string | null;
  /** Of the last page: `next`. */
  before: number | null;
  limit: number;
};

type Row = SagaRow & {
  number: string;
  created_at: string;
  updated_at: string;
  ended_at: string | null;
};

/** Null where there is none of this id. */
export async function findSaga(pool: Pool, id: string): Promise<FoundSaga | null> {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return null;
  const [row] = await pool.run((sql) => sql<Row[]>`select ${columns(sql)} from sagas where id = ${id}`);
  if (row === undefined) return null;
  const instance = instanceOf(row);
  return { instance, status: statusOf(row, instance), data: JSON.parse(instance.data) };
}

/** The newest first. `next`: what the next page is asked for with; null for the last. */
export async function listSagas(pool: Pool, query: SagaQuery): Promise<{ sagas: SagaStatus[]; next: number | null }> {
  const rows = await pool.run((sql) => sql<Row[]>`${select(sql, query)}`);
  const page = rows.slice(0, query.limit);
  return {
    sagas: page.map((row) => statusOf(row, instanceOf(row))),
    next: rows.length > query.limit ? Number(page.at(-1)?.number) : null,
  };
}

function select(sql: Sql, { saga, state, correlation, before, limit }: SagaQuery): Fragment {
  const older = before === null ? sql`` : sql`and number < ${before}`;
  // One more tells whether there is another page.
  const page = sql`order by number desc limit ${limit + 1}`;
  if (correlation !== null)
    return sql`
      select ${columns(sql)} from sagas
      where correlation_id = ${correlation} ${older} ${saga === null ? sql`` : sql`and saga = ${saga}`}
        ${state === null ? sql`` : sql`and state = ${state}`} ${page}`;
  if (saga !== null)
    // The newest of each state: one short scan of the index for each.
    return sql`
      select ${columns(sql)} from (
        select m.* from unnest(${nameList(state === null ? sagaStates : [state])}::text[]) u(state) cross join lateral (
          select * from sagas where saga = ${saga} and state = u.state ${older} ${page}) m
      ) s ${page}`;
  if (state !== null) return sql`select ${columns(sql)} from sagas where state = ${state} ${older} ${page}`;
  return sql`select ${columns(sql)} from sagas where true ${older} ${page}`;
}

function columns(sql: Sql): Fragment {
  return sql`${instanceColumns(sql)}, number, created_at, updated_at, ended_at`;
}

function statusOf(row: Row, { progress, steps }: Instance): SagaStatus {
  const { state, completed, remaining } = progress;
  const current = state === "Compensating" || state === "Failed" ? steps[remaining - 1] : steps[completed.length];
  return {
    sagaId: row.id,
    correlationId: row.correlation_id,
    saga: row.saga,
    state,
    paused: progress.paused,
    cancelRequested: progress.cancelRequested,
    progress: `${completed.length}/${steps.length}`,
    currentStep: completed.length,
    totalSteps: steps.length,
    step: state === "Completed" || state === "Compensated" ? null : (current ?? null),
    completedSteps: completed,
    compensatedSteps: progress.compensated,
    undone: progress.undone,
    failures: progress.failures,
    error: progress.error,
    failedStep: progress.failedStep,
    compensationError: progress.compensationError,
    waitingFor: row.waiting_type,
    dueAt: progress.paused ? null : timeOf(progress.timerAt),
    deadlineAt: timeOf(progress.deadlineAt),
    startedAt: row.created_at,
    updatedAt: row.updated_at,
    endedAt: row.ended_at,
  };
}

const timeOf = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
