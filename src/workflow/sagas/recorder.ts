// Records how far sagas have come: concurrent records travel in batches, as appends do.
import { type Batcher, createBatcher } from "../../base/batcher.ts";
import type { Log } from "../../base/log.ts";
import { classify } from "../../storage/pg-errors.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import {
  callSagaRecord,
  callSagaStart,
  type RecordCall,
  type RecordOutcome,
  type StartCall,
  type StartOutcome,
} from "./calls.ts";

export type RecorderOptions = {
  pool: Pool;
  owner: string;
  /** Events wait in the outbox. */
  wakeOutbox: () => void;
  log: Log;
};

export type Recorder = {
  /** Both reject with what the database says; a record may be repeated, also when its outcome is not known. */
  start: (call: StartCall) => Promise<StartOutcome>;
  record: (call: RecordCall) => Promise<RecordOutcome>;
  /** Waits for what is under way. */
  stop: () => Promise<void>;
};

const maxBatch = 200;
const maxBatchBytes = 4_000_000;
const batchesInFlight = 2;

type Weighed = { data: string | null; events: readonly { data: string | null }[] };
type Pending<Call, Outcome> = { call: Call; resolve: (outcome: Outcome) => void; reject: (error: unknown) => void };

export function createRecorder({ pool, owner, wakeOutbox, log }: RecorderOptions): Recorder {
  /** Calls that travel together; a refused one alone is told so, and the others are not. */
  function batched<Call extends Weighed, Outcome>(what: string, call: (sql: Sql, batch: Call[]) => Promise<Outcome[]>) {
    type Item = Pending<Call, Outcome>;

    async function flush(batch: Item[]): Promise<void> {
      let outcomes: Outcome[];
      try {
        outcomes = await pool.run((sql) =>
          call(
            sql,
            batch.map((item) => item.call),
          ),
        );
      } catch (error) {
        if (classify(error).kind === "refused" && batch.length > 1) {
          const middle = batch.length >> 1;
          await flush(batch.slice(0, middle));
          return flush(batch.slice(middle));
        }
        for (const item of batch) item.reject(error);
        return;
      }
      if (batch.some((item) => item.call.events.length > 0)) wakeOutbox();
      for (const [n, item] of batch.entries()) item.resolve(outcomes[n] as Outcome);
    }

    const batcher: Batcher<Item> = createBatcher<Item>({
      flush,
      weigh: (item) => ({ count: 1, bytes: weightOf(item.call) }),
      maxCount: maxBatch,
      maxBytes: maxBatchBytes,
      maxInFlight: batchesInFlight,
      onDefect(error, batch) {
        log.error({ err: error }, `${what} failed`);
        for (const item of batch) item.reject(error);
      },
    });
    return {
      push: (one: Call) => new Promise<Outcome>((resolve, reject) => batcher.push({ call: one, resolve, reject })),
      idle: batcher.idle,
    };
  }

  const starts = batched("starting sagas", (sql, batch: StartCall[]) => callSagaStart(sql, owner, batch));
  const records = batched("recording sagas", (sql, batch: RecordCall[]) => callSagaRecord(sql, owner, batch));
  return {
    start: starts.push,
    record: records.push,
    stop: async () => {
      await Promise.all([starts.idle(), records.idle()]);
    },
  };
}

function weightOf({ data, events }: Weighed): number {
  return events.reduce((sum, event) => sum + (event.data?.length ?? 0) + 300, (data?.length ?? 0) + 500);
}
