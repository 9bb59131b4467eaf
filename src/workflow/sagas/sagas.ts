// Wires the parts of sagas: starting them, carrying them on, waking them, and what people may do with them.
import { internalError, sagaEnded, sagaMisfit, sagaNotFailed, sagaNotFound, sagaUnknown } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { createSemaphore } from "../../base/semaphore.ts";
import type { Leases } from "../../storage/lease.ts";
import type { Pool } from "../../storage/pool.ts";
import { readHead } from "../../stream/resolve.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import type { Tail } from "../../stream/tail.ts";
import type { CallCommand } from "../commands/run-command.ts";
import { createEmission } from "../events/emission.ts";
import { asRequest, handlers } from "../handlers/from-within.ts";
import type { Module } from "../module/module.ts";
import type { CallStart } from "../subscriptions/handled-delivery.ts";
import { callSagaFlag, callSagaRecord, type Flag } from "./calls.ts";
import { createCarrier } from "./carrier.ts";
import { readSagaFigures, type SagaFigures } from "./figures.ts";
import { startForgettingSagas } from "./forget.ts";
import { advance, type TransitionType } from "./machine.ts";
import { misfit } from "./plan.ts";
import { createRecorder } from "./recorder.ts";
import { type FoundSaga, findSaga, listSagas, type SagaQuery, type SagaStatus } from "./register.ts";
import { createRunner, type Runner } from "./runner.ts";
import { eventTypeOf, transitionData, transitionEvent } from "./saga-events.ts";
import { createSchedule } from "./schedule.ts";
import { createStarter, type Started, type StartRequest } from "./starter.ts";
import { createSagaTally, type SagaCounters } from "./tally.ts";
import { startWatch } from "./watch.ts";

export type Sagas = {
  start: (request: StartRequest) => Promise<Started>;
  /** For a handler, whose keys are apart from those of clients. */
  startFor: CallStart;
  /** Throws `saga-not-found`. */
  find: (id: string) => Promise<FoundSaga>;
  list: (query: SagaQuery) => Promise<{ sagas: SagaStatus[]; next: number | null }>;
  /** Throws `saga-not-found`, and `saga-ended` for one that does nothing any more. */
  flag: (id: string, flag: Flag) => Promise<FoundSaga>;
  /** Compensates further what has failed. Throws `saga-not-found`, `saga-not-failed`. */
  retry: (id: string) => Promise<FoundSaga>;
  counters: () => SagaCounters;
  /** How the sagas of all processes stand. Rejects when the database is away. */
  figures: () => Promise<SagaFigures>;
  stop: (withinMs: number) => Promise<void>;
};

export type SagasOptions = {
  modules: readonly Module[];
  reads: Pool;
  writes: Pool;
  leases: Pick<Leases, "owner" | "want">;
  tail: Pick<Tail, "head" | "subscribe">;
  upcasting: Pick<Upcasting, "attempt">;
  wakeOutbox: () => void;
  runCommand: CallCommand;
  /** Name of the service. */
  service: string;
  /** Bytes of one event that code emits, at most. */
  maxEventBytes: number;
  /** Sagas that this process carries out at once. */
  concurrency: number;
  /** How long sagas are kept that were completed or compensated, in milliseconds. */
  windowMs: number;
  log: Log;
};

const looksAtOnce = 4;
const flagged: Record<Flag, TransitionType> = { pause: "paused", resume: "resumed", cancel: "cancel-requested" };

export function startSagas(options: SagasOptions): Sagas {
  const { modules, reads, writes, leases, tail, upcasting, wakeOutbox, runCommand, log } = options;
  const definitions = new Map(modules.flatMap(({ sagas }) => sagas.map((saga) => [saga.name, saga])));
  const tally = createSagaTally();
  const schedule = createSchedule(reads, [...definitions.keys()]);
  const recorder = createRecorder({ pool: writes, owner: leases.owner, wakeOutbox, log });
  const carry = createCarrier({
    emission: createEmission(options.service, options.maxEventBytes),
    runCommand,
    reads,
    looks: createSemaphore(looksAtOnce),
    upcasting,
    readHead: () => reads.run((sql) => readHead(sql, tail.head())),
    recorder,
    now: schedule.now,
    onRecorded(plan) {
      tally.recorded(plan);
      const { restMs } = plan.record;
      if (restMs !== null) runner.dueIn(restMs);
    },
    log,
  });
  const { concurrency } = options;
  const runner: Runner = createRunner({ pool: writes, leases, definitions, schedule, carry, concurrency, log });
  // A service without sagas of its own shows those that there are, and has nothing to do for them.
  if (definitions.size > 0) runner.start();
  const watch = definitions.size > 0 ? startWatch({ pool: writes, leases, tail, onDue: runner.wake, log }) : null;
  const forgetting = startForgettingSagas(writes, options.windowMs, log);

  async function find(id: string): Promise<FoundSaga> {
    const found = await findSaga(reads, id);
    if (found === null) throw sagaNotFound(id);
    return found;
  }

  const start = createStarter({
    definitions,
    recorder,
    runner,
    now: schedule.now,
    clockKnown: schedule.known,
    head: tail.head,
    onStarted: tally.started,
  });
  return {
    start,
    startFor(saga, input, { idempotencyKey: key, correlationId }) {
      const { body, requestHash } = asRequest(input, correlationId);
      return start({ saga, input: body, correlationId, idempotency: { key, requestHash }, principal: handlers });
    },
    find,
    list: (query) => listSagas(reads, query),
    async flag(id, flag) {
      const { instance } = await find(id);
      const told = { type: eventTypeOf(flagged[flag]), data: transitionData(instance, { type: flagged[flag] }) };
      const outcome = await writes.run((sql) => callSagaFlag(sql, id, flag, told));
      if (outcome === "missing") throw sagaNotFound(id);
      const found = await find(id);
      if (outcome === "ended") throw sagaEnded(id, found.status.state);
      if (outcome === "changed") {
        wakeOutbox();
        runner.wake();
      }
      return found;
    },
    async retry(id) {
      for (let attempt = 0; attempt < 5; attempt++) {
        const { instance, status } = await find(id);
        const definition = definitions.get(instance.saga);
        if (definition === undefined) throw sagaUnknown(instance.saga);
        if (status.state !== "Failed") throw sagaNotFailed(id, status.state);
        const unfit = misfit(definition, instance);
        if (unfit !== null) throw sagaMisfit(id, unfit);
        const { progress, transitions } = advance(
          definition.steps,
          instance.progress,
          { kind: "retry" },
          schedule.now(),
        );
        const { version, steps, places } = instance;
        const events = transitions.map((transition) => transitionEvent(instance, transition));
        const call = { instance, version, steps, progress, places, data: null, waitingFor: null, restMs: 0, events };
        const [outcome] = await writes.run((sql) => callSagaRecord(sql, null, [call]));
        if (outcome !== "recorded") continue;
        wakeOutbox();
        runner.wake();
        return find(id);
      }
      throw internalError(new Error(`saga ${id} changes all the time`));
    },
    figures: () => readSagaFigures(reads, [...definitions.keys()]),
    counters: () => ({ ...tally.counters(), ...runner.counts() }),
    async stop(withinMs) {
      await forgetting.stop();
      await watch?.stop();
      await runner.stop(withinMs);
      await recorder.stop();
    },
  };
}
