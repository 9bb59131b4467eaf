// Looks in the log for the event that a step waits for.

import { everyone } from "../../base/principal.ts";
import type { Semaphore } from "../../base/semaphore.ts";
import type { Pool } from "../../storage/pool.ts";
import { readPage } from "../../stream/page.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import type { Selection } from "../../stream/selection.ts";
import { readStreamStarts } from "../../stream/stream-head.ts";
import { knownVersions } from "../events/known-versions.ts";
import { contextOf } from "../events/recorded-event.ts";
import { typedData } from "../events/typed-data.ts";
import { deepFreeze } from "../handlers/deep-freeze.ts";
import { messageOf } from "../handlers/message-of.ts";
import { withAdditions } from "./additions.ts";
import { type Awaited, awaitedKey, awaitedOf } from "./awaited.ts";
import type { Instance } from "./instance.ts";
import type { Outcome } from "./plan.ts";
import type { SagaDefinition, SagaStep } from "./saga.ts";

export type AwaitedEventOptions = {
  reads: Pool;
  /** Bounds the pages that are read at once. */
  looks: Semaphore;
  upcasting: Pick<Upcasting, "attempt">;
  /** The last position that is committed. */
  readHead: () => Promise<number>;
};

type Wait = Extract<SagaStep, { kind: "wait" }>;

const pageEvents = 100;
const budgetMs = 1_000;

/** This process cannot read an event that another one may be able to read. */
export class NotHere extends Error {}

/** The first event that is the one, of those that were not looked at before. Rejects with outages, and with `NotHere`. */
export async function findAwaited(
  { reads, looks, upcasting, readHead }: AwaitedEventOptions,
  definition: SagaDefinition,
  instance: Instance,
  step: Wait,
  signal: AbortSignal,
): Promise<Outcome> {
  const type = step.event.name;
  const target = knownVersions([step.event]);
  const known = step.event.versions.length;
  const data = deepFreeze(JSON.parse(instance.data) as Record<string, unknown>);
  let awaited: Awaited;
  try {
    awaited = awaitedOf(step, data);
  } catch (error) {
    return failed(messageOf(error));
  }
  const key = awaitedKey(awaited);
  const bound = await readHead();
  const upTo = (position: number) => ({
    ...instance.places,
    seen: { ...instance.places.seen, [key]: position },
  });
  const selection = selectionOf(awaited, instance.correlationId);
  const { streams } = selection;
  const starts = streams === null ? null : await reads.run((sql) => readStreamStarts(sql, streams), signal);
  const streamIds = starts?.map(({ id }) => id) ?? null;
  let cursor = Math.max(instance.places.from, instance.places.seen[key] ?? -1);
  while (cursor < bound) {
    const page = await looks.run(
      () =>
        readPage(reads, {
          selection,
          streamIds,
          principal: everyone,
          direction: "forward",
          cursor,
          bound,
          limit: pageEvents,
          // Streams without replay too: it is not history to the saga.
          historyEnd: -1,
          budgetMs,
          signal,
        }),
      signal,
    );
    for (const [n, event] of (await upcasting.attempt(page.events, target)).entries()) {
      const position = page.events[n]?.position as number;
      if ("failure" in event) {
        if (event.passing) throw new NotHere(`the event at position ${position} cannot be read here: ${event.failure}`);
        return failed(`the event at position ${position} cannot be read: ${event.failure}`);
      }
      if (event.schemaVersion > known)
        throw new NotHere(
          `the event at position ${position} is version ${event.schemaVersion} of ${type}, a newer one`,
        );
      // A queue's events are its consumers'.
      if (event.ephemeral) continue;
      try {
        const given = deepFreeze(typedData(event, step.event));
        const about = contextOf(event);
        if (!step.when(given, data, about)) continue;
        const taken = withAdditions(definition, data, step.take(given, data, about));
        return { input: { kind: "done" }, data: taken, places: upTo(position) };
      } catch (error) {
        return failed(`the event at position ${position} was refused: ${messageOf(error)}`);
      }
    }
    cursor = page.reached;
  }
  const message = `no ${type} came in time`;
  return { input: { kind: "not-there", message }, places: upTo(Math.max(bound, cursor)) };
}

function selectionOf({ type, match }: Awaited, correlation: string): Selection {
  const all = { streams: null, types: [type], correlation: null, key: null, where: null };
  if (match === null) return { ...all, correlation };
  switch (match.by) {
    case "stream":
      return { ...all, streams: [match.key] };
    case "partition-key":
      return { ...all, key: match.key };
    case "subject":
      return { ...all, subject: match.key };
    default:
      return match.by satisfies never;
  }
}

const failed = (message: string): Outcome => ({ input: { kind: "failed", message, isFinal: true } });
