// Wires what is handed out: subscriptions, and the queues among the streams that modules configure.
import { type Subscriptions, startSubscriptions } from "../subscription/subscriptions.ts";
import { putStreams } from "../workflow/module/put-streams.ts";
import { namingOf } from "./bridge.ts";
import type { Ground } from "./ground.ts";
import type { LogParts } from "./log.ts";

export async function startConsuming(
  { config, database, onStop, log }: Ground,
  { modules, tail, schemas, wake, woken }: LogParts,
): Promise<Subscriptions> {
  const { reads, claims, appends } = database;
  const { processedMs, groupWindow } = config;
  const subscriptions = await startSubscriptions({
    reads,
    claims,
    tail,
    registry: schemas.registry,
    upcasting: schemas.upcasting,
    announce: wake.sendCursors,
    processedMs,
    groupWindow,
    log,
  });
  woken.onCursors = subscriptions.ledger.wake;
  onStop(subscriptions.stop);
  await putStreams(modules, {
    writes: appends,
    naming: namingOf(config),
    onConfigured: subscriptions.consumption.configureQueue,
    log,
  });
  return subscriptions;
}
