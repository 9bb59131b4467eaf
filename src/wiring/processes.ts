// Wires what modules bring along: commands and the outbox, sagas and projections, and the handlers of subscriptions.
import { createLeases, type Leases } from "../storage/lease.ts";
import { type Outbox, startOutbox } from "../stream/outbox/outbox.ts";
import type { Subscriptions } from "../subscription/subscriptions.ts";
import { type Projections, startProjections } from "../workflow/projections/projections.ts";
import { type Sagas, startSagas } from "../workflow/sagas/sagas.ts";
import { type ModuleSubscriptions, startModuleSubscriptions } from "../workflow/subscriptions/subscriptions.ts";
import { startWorkflows, type Workflows } from "../workflow/workflows.ts";
import type { Ground } from "./ground.ts";
import type { LogParts } from "./log.ts";

export type CommandParts = {
  workflows: Workflows;
  leases: Leases;
  outbox: Outbox;
};

export function startCommands({ config, database, onStop, log }: Ground, parts: LogParts): CommandParts {
  const { reads, claims } = database;
  const { modules, appender, schemas, wake, woken } = parts;
  const workflows = startWorkflows({
    modules,
    service: config.serviceName,
    maxEventBytes: config.maxBodyBytes,
    appender,
    upcasting: schemas.upcasting,
    reads,
    writes: claims,
    announce: wake.sendContended,
    log,
  });
  woken.onContended = workflows.yieldTo;
  onStop(workflows.stop);

  const leases = createLeases({ pool: claims, ttlMs: config.leaseMs, log });
  onStop(leases.stop);
  leases.start();

  const outbox = startOutbox({
    pool: claims,
    appender,
    leases,
    intervalMs: config.outboxIntervalMs,
    announce: wake.sendOutbox,
    service: config.serviceName,
    maxEventBytes: config.maxBodyBytes,
    log,
  });
  woken.onOutbox = outbox.wakeHere;
  onStop(outbox.stop);
  return { workflows, leases, outbox };
}

export type ReactionParts = {
  sagas: Omit<Sagas, "stop">;
  /** Stops them once, however often it is called. */
  stopSagas: () => Promise<void>;
  projections: Projections;
};

export async function startReactions(
  { config, database, onStop, log }: Ground,
  { modules, tail, schemas, wake, woken }: LogParts,
  { workflows, leases, outbox }: CommandParts,
): Promise<ReactionParts> {
  const { upcasting } = schemas;
  const sagas = startSagas({
    modules,
    reads: database.reads,
    writes: database.claims,
    leases,
    tail,
    upcasting,
    wakeOutbox: outbox.wake,
    runCommand: workflows.call,
    service: config.serviceName,
    maxEventBytes: config.maxBodyBytes,
    concurrency: config.sagaConcurrency,
    windowMs: config.sagaWindowMs,
    log,
  });
  let stopping: Promise<void> | null = null;
  const stopSagas = () => {
    stopping ??= sagas.stop(config.shutdownMs);
    return stopping;
  };
  onStop(stopSagas);

  const projections = await startProjections({
    definitions: modules.flatMap((module) => module.projections),
    leases,
    serviceSchema: config.schema,
    database,
    tail,
    upcasting,
    announce: wake.sendProjections,
    log,
  });
  woken.onProjections = projections.tend;
  onStop(projections.stop);
  return { sagas, stopSagas, projections };
}

export async function startHandlers(
  { config, onStop, log }: Ground,
  { modules, schemas }: LogParts,
  subscriptions: Subscriptions,
  { workflows }: CommandParts,
  { sagas }: ReactionParts,
): Promise<ModuleSubscriptions> {
  const handlers = await startModuleSubscriptions(modules, {
    feeds: { ...subscriptions, log },
    settlements: subscriptions.ledger,
    upcasting: schemas.upcasting,
    reach: { runCommand: workflows.call, startSaga: sagas.startFor },
    log,
  });
  onStop(() => handlers.stop(config.shutdownMs));
  return handlers;
}
