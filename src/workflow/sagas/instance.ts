// A saga that was started, as it is kept and as whoever has it in hand knows it.
import type { Fragment, Sql } from "../../storage/pool.ts";
import type { Awaited, Match } from "./awaited.ts";
import { type Progress, type SagaState, sagaStates } from "./progress.ts";

/** Up to where the log was looked through for what the saga waits for. */
export type Places = {
  /** The head of the log when it was started: what is older is none of its events. */
  from: number;
  /** By type of event, and by what else it is matched, where that is further on. */
  seen: Readonly<Record<string, number>>;
};

export type Instance = {
  id: string;
  saga: string;
  version: number;
  correlationId: string;
  /** Rises with each owner. */
  epoch: number;
  /** Rises with each record. */
  turn: number;
  /** Owners that have died since the last record. */
  lost: number;
  /** The names of its steps, when it was last recorded. */
  steps: readonly string[];
  progress: Progress;
  places: Places;
  /** The event that it waits for. */
  waitingFor: Awaited | null;
  /** As JSON. */
  data: string;
};

/** A row of the table, as far as its owner needs it. */
export type SagaRow = {
  id: string;
  saga: string;
  version: number;
  correlation_id: string;
  state: string;
  paused: boolean;
  cancel_requested: boolean;
  epoch: string;
  turn: string;
  lost: number;
  waiting_type: string | null;
  waiting_by: Match["by"] | null;
  waiting_key: string | null;
  steps: string;
  progress: string;
  data: string;
};

/** The columns of a row; names of steps have no commas. */
export function instanceColumns(sql: Sql): Fragment {
  return sql`
    id, saga, version, correlation_id, state, paused, cancel_requested, epoch, turn, lost, waiting_type,
    waiting_by, waiting_key,
    array_to_string(steps, ',') as steps, progress, data`;
}

export function instanceOf(row: SagaRow): Instance {
  const { places, ...progress } = JSON.parse(row.progress) as Omit<Progress, "paused" | "cancelRequested" | "state"> & {
    places: Places;
  };
  const { paused, cancel_requested: cancelRequested } = row;
  return {
    id: row.id,
    saga: row.saga,
    version: row.version,
    correlationId: row.correlation_id,
    epoch: Number(row.epoch),
    turn: Number(row.turn),
    lost: row.lost,
    steps: row.steps === "" ? [] : row.steps.split(","),
    progress: { ...progress, state: stateOf(row.state), paused, cancelRequested },
    places,
    waitingFor: row.waiting_type === null ? null : { type: row.waiting_type, match: matchOf(row) },
    data: row.data,
  };
}

function matchOf({ waiting_by: by, waiting_key: key }: SagaRow): Match | null {
  return by === null || key === null ? null : { by, key };
}

/** What of a saga's progress has no column of its own, as JSON. */
export function progressText(
  { state: _, paused: __, cancelRequested: ___, ...progress }: Progress,
  places: Places,
): string {
  return JSON.stringify({ ...progress, places });
}

function stateOf(text: string): SagaState {
  return sagaStates.find((state) => state === text) as SagaState;
}
