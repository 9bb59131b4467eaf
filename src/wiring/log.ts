// Wires the log: its tail, its upkeep, the wake-ups between processes, the schema registry, and the way in for events.

import { createWake, type Wake, type WakeOptions } from "../storage/wake.ts";
import { type Appender, createAppender } from "../stream/append.ts";
import { createForgetting, type Forgetting } from "../stream/forgetting.ts";
import { readTail } from "../stream/page.ts";
import { startPayloadIndex } from "../stream/payload-index.ts";
import { readHead } from "../stream/resolve.ts";
import { type Schemas, startSchemas } from "../stream/schema/schemas.ts";
import { createTail, type Tail } from "../stream/tail.ts";
import { createUpkeep, type Upkeep } from "../stream/upkeep.ts";
import { loadModules, registerEvents } from "../workflow/module/load-modules.ts";
import type { Module } from "../workflow/module/module.ts";
import { appendsInFlight } from "./database.ts";
import type { Ground } from "./ground.ts";

/** Who is woken when another process has announced something: each part enters itself when it has started. */
type Woken = Partial<Omit<WakeOptions, "connect" | "channel" | "onWake" | "log">>;

export type LogParts = {
  tail: Tail;
  upkeep: Upkeep;
  wake: Wake;
  woken: Woken;
  schemas: Schemas;
  modules: Module[];
  appender: Appender;
};

export async function startLog(ground: Ground): Promise<LogParts> {
  const { config, database, onStop, servedAt, log } = ground;
  const { reads, claims } = database;
  const { tail, upkeep } = await startTail(ground);

  const woken: Woken = {};
  const wake = createWake({
    connect: database.listen,
    channel: `sluice_${config.schema}`,
    onWake: tail.wake,
    onCursors: (cursors) => woken.onCursors?.(cursors),
    onLive: (ids) => woken.onLive?.(ids),
    onSchemas: () => woken.onSchemas?.(),
    onOutbox: () => woken.onOutbox?.(),
    onContended: (streams) => woken.onContended?.(streams),
    onProjections: () => woken.onProjections?.(),
    log,
  });
  onStop(wake.stop);
  await wake.start();

  const schemas = await startSchemas({
    reads,
    writes: claims,
    publicUrl: () => config.publicUrl ?? servedAt(),
    readHead: () => reads.run((sql) => readHead(sql, tail.head())),
    announce: wake.sendSchemas,
    log,
  });
  woken.onSchemas = schemas.registry.wake;
  onStop(schemas.stop);
  const modules = await loadModules(config.modules);
  await registerEvents(modules, schemas.registration, schemas.upcasting);

  const appender = startAppender(ground, { tail, upkeep, wake, schemas });
  return { tail, upkeep, wake, woken, schemas, modules, appender };
}

async function startTail({ config, database, onStop, log }: Ground): Promise<Pick<LogParts, "tail" | "upkeep">> {
  const { reads } = database;
  const tail = createTail({
    readHead: (atLeast) => reads.run((sql) => readHead(sql, atLeast)),
    readRange: (after, upTo, limit) => readTail(reads, after, upTo, limit),
    ringBytes: config.ringBytes,
    pollMs: 1_000,
    log,
  });
  await tail.start();
  onStop(tail.stop);

  const upkeep = createUpkeep({
    pool: reads,
    head: tail.head,
    partitionSize: config.partitionSize,
    idempotencyKeysMs: config.idempotencyKeysMs,
    log,
  });
  onStop(upkeep.stop);
  await upkeep.start();

  if (config.ginIndex) {
    const payloadIndex = startPayloadIndex(() => database.connect({ statement_timeout: "0" }), log);
    onStop(payloadIndex.stop);
  }
  return { tail, upkeep };
}

function startAppender(
  { config, database, onStop, log }: Ground,
  { tail, upkeep, wake, schemas }: Pick<LogParts, "tail" | "upkeep" | "wake" | "schemas">,
): Appender {
  const appender = createAppender({
    pool: database.appends,
    log,
    maxBatchEvents: config.appendBatchEvents,
    maxBatchBytes: config.appendBatchBytes,
    batchesInFlight: appendsInFlight,
    maxWaitingBytes: 64_000_000,
    onAppended(events) {
      tail.offer(events);
      wake.send(events.at(-1)?.position ?? -1);
    },
    onUnknown: () => tail.wake(Number.POSITIVE_INFINITY),
    onNoPartition: upkeep.wakePartitions,
    validation: schemas.validation,
  });
  onStop(appender.stop);
  return appender;
}

/** Tells the tails of all processes of a control record. */
export const announceControl =
  ({ tail, wake }: Pick<LogParts, "tail" | "wake">) =>
  (position: number): void => {
    tail.wake(position);
    wake.send(position);
  };

export function startForgetting({ config, database, onStop, log }: Ground, parts: LogParts): Forgetting {
  const forgetting = createForgetting({
    pool: database.reads,
    connect: database.connect,
    everyMs: config.trimIntervalMs,
    deduplicationMs: config.deduplicationMs,
    partitionSize: config.partitionSize,
    onControl: announceControl(parts),
    onNoPartition: parts.upkeep.wakePartitions,
    log,
  });
  onStop(forgetting.stop);
  forgetting.start();
  return forgetting;
}
