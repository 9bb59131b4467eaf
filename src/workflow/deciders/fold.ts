// Folds events into states, as a decider says.
import { schemasUnavailable, stateNotRebuilt, type Violation } from "../../base/errors.ts";
import { contentHash } from "../../base/ids.ts";
import type { StoredEvent } from "../../stream/event.ts";
import type { Target } from "../../stream/schema/target.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import { knownVersions } from "../events/known-versions.ts";
import { contextOf, type EventContext } from "../events/recorded-event.ts";
import { typedData } from "../events/typed-data.ts";
import { type Checker, checkerOf } from "../handlers/checker.ts";
import { deepFreeze, isFrozenWrite } from "../handlers/deep-freeze.ts";
import { Defect } from "../handlers/defect.ts";
import { messageOf } from "../handlers/message-of.ts";
import type { DeciderDefinition, Evolve } from "./decider.ts";

/** A state, and what of its stream it is the state of. */
export type Point = {
  /** Frozen through and through. */
  readonly state: unknown;
  /** Of the last event that is in it; one less than `bornOffset` where there is none. */
  readonly offset: number;
  /** Id of that event; null where there is none, or nobody looked. */
  readonly eventId: string | null;
  /** Of that event, or any before it: reading on begins there. */
  position: number;
  /** First offset of the stream's present life. */
  readonly bornOffset: number;
  /** Empty before the stream had an event. */
  readonly logId: string;
  /** Whether it is known to be stored; else its last event is under way, and another one may yet stand there. */
  isStored: boolean;
  /** Resolves when that is decided; null where it is. */
  settled: Promise<unknown> | null;
  /** At most about the size of the state as JSON. */
  bytes: number;
};

/** A decider as it is folded: what follows from its definition once and for all. */
export type Fold = {
  name: string;
  /** Of its snapshots. */
  owner: string;
  /** Snapshots that another version or another schema of the state has made are not used. */
  tag: string;
  initialState: unknown;
  evolves: ReadonlyMap<string, Evolve>;
  /** Its events as the versions that its code is written for. */
  target: Target;
  checkState: Checker;
};

const folds = new WeakMap<DeciderDefinition, Fold>();

export function foldOf(decider: DeciderDefinition): Fold {
  let fold = folds.get(decider);
  if (fold === undefined) {
    const { name, version, state, initialState, evolves } = decider;
    fold = {
      name,
      owner: `decider:${name}`,
      tag: `${version}:${contentHash([JSON.stringify(state)])}`,
      // A copy: the author's own object stays as it is, and the state is what it would be after a snapshot.
      initialState: deepFreeze(JSON.parse(JSON.stringify(initialState))),
      evolves: new Map(evolves.map((evolve) => [evolve.type.name, evolve])),
      target: knownVersions(evolves.map(({ type }) => type)),
      checkState: checkerOf(state),
    };
    folds.set(decider, fold);
  }
  return fold;
}

/** The data of an event that the decider handles. Throws `Defect` where their type denies them. */
export function handledData({ evolves }: Fold, event: StoredEvent): unknown {
  return typedData(event, (evolves.get(event.type) as Evolve).type);
}

/** The state after an event that the decider handles. Throws an error that tells what the handler did wrong. */
export function evolve(fold: Fold, state: unknown, data: unknown, event: EventContext): unknown {
  const handler = fold.evolves.get(event.type) as Evolve;
  let next: unknown;
  try {
    next = handler.evolve(state, data, event);
  } catch (error) {
    if (isFrozenWrite(error)) throw new Defect("it changed the state it was given, instead of returning a new one");
    throw error;
  }
  if (next instanceof Promise) {
    // Nobody waits for it: it must not end the process either.
    next.catch(() => {});
    throw new Defect("it returned a promise: the state follows from the event alone");
  }
  if (next === undefined) throw new Defect("it returned nothing");
  return deepFreeze(next);
}

/**
 * The point behind stored events, which follow on one another. Throws `state-not-rebuilt` where one of them cannot be folded,
 * and `schemas-unavailable` where only this process cannot.
 */
export async function foldStored(
  fold: Fold,
  from: Point,
  events: readonly StoredEvent[],
  upcasting: Pick<Upcasting, "attempt">,
): Promise<Point> {
  const handled = events.filter((event) => fold.evolves.has(event.type));
  for (const event of handled) requireKnownVersion(fold, event);
  const shown = await upcasting.attempt(handled, fold.target);
  let { state, bytes } = from;
  for (const [n, event] of handled.entries()) {
    const as = shown[n] as (typeof shown)[number];
    const failed = (why: string, errors: readonly Violation[] = []) =>
      stateNotRebuilt(fold.name, event.stream, event.offset, `${event.type}: ${why}`, errors);
    if ("failure" in as) throw as.passing ? schemasUnavailable(as.failure) : failed(as.failure);
    try {
      state = evolve(fold, state, handledData(fold, as), contextOf(as));
    } catch (error) {
      throw failed(messageOf(error), error instanceof Defect ? error.violations : []);
    }
    bytes += as.data?.length ?? 0;
  }
  const last = events.at(-1);
  if (last === undefined) return from;
  return { ...from, state, bytes, offset: last.offset, eventId: last.id, position: last.position };
}

function requireKnownVersion({ evolves }: Fold, { type, schemaVersion, stream, offset }: StoredEvent): void {
  const known = evolves.get(type)?.type.versions.length ?? 0;
  if (schemaVersion > known)
    throw schemasUnavailable(
      `The event at offset ${offset} of stream ${stream} is version ${schemaVersion} of ${type}, and this process knows ${known}`,
    );
}
