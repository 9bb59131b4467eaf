// Brings events to the versions in which they are wanted: by code of modules, and by expressions in the sandbox.
import type { StoredEvent, UpcastFailure } from "../event.ts";
import type { Registry, TypeEntry } from "./registry.ts";
import type { Sandbox } from "./sandbox/sandbox.ts";
import { createShownEvents } from "./shown-events.ts";
import { asStored, type Target, wantedVersion } from "./target.ts";
import { type CodeUpcaster, type Converted, createPlans, failureOf, runCode, type Segment } from "./upcast-plan.ts";

export type Upcasting = {
  /** Code for the hop to a version of a type. */
  provide: (type: string, version: number, upcaster: CodeUpcaster) => void;
  /**
   * The events as a target wants them, at once where nothing has to be waited for; the same array where nothing is changed. What
   * cannot be upcast is left as it is stored, and says why in its attribute `upcasterror`. Rejects with problems of the sandbox.
   */
  show: (events: readonly StoredEvent[], target: Target) => Shown<StoredEvent>;
  /** The same for events that others have in hand too: what is made of them is shared. */
  showShared: (events: readonly StoredEvent[], target: Target) => Shown<StoredEvent>;
  /** As `showShared`, with failures in the places of what cannot be upcast. */
  attempt: (events: readonly StoredEvent[], target: Target) => Shown<StoredEvent | UpcastFailure>;
  /** Whether the event would be shown as it is. */
  isShownAsStored: (event: StoredEvent, target: Target) => boolean;
  /** The event as it is stored, which says in its `upcasterror` that it could not be upcast. */
  mark: (event: StoredEvent, failure: string) => StoredEvent;
  /** Data of one version as JSON text of another. */
  convert: (type: string, from: number, to: number, data: string) => Promise<Converted>;
  counters: () => { upcast: number; failed: number };
};

export type Shown<Item> = readonly Item[] | Promise<readonly Item[]>;

type Shaped = StoredEvent | UpcastFailure;
/** An event on its way through the sandbox: its place in the list, and its data so far. */
type Underway = { at: number; to: number; data: string };

/** Bytes of events that are kept as other versions than the stored ones. */
const maxKeptBytes = 32_000_000;

/** `trial`: where what is only tried is evaluated, so that nobody else has to bear it. */
export function createUpcasting(
  registry: Registry,
  sandbox: Pick<Sandbox, "run">,
  trial: Pick<Sandbox, "run">,
): Upcasting {
  const plans = createPlans();
  const kept = createShownEvents(registry.revision, maxKeptBytes);
  const counters = { upcast: 0, failed: 0 };

  /** Runs data through what is left of their way, which begins in the sandbox. */
  async function runOn(
    rest: readonly Segment[],
    data: readonly string[],
    box: Pick<Sandbox, "run"> = sandbox,
  ): Promise<Converted[]> {
    const [first, ...others] = rest;
    if (first === undefined || "code" in first) throw new Error("what is left begins in the sandbox");
    const results: Converted[] = new Array(data.length);
    const onward: { at: number; data: string }[] = [];
    let left: readonly Segment[] = [];
    for (const [n, outcome] of (await box.run("upcast", first.programs, data)).entries()) {
      const ran =
        outcome.text === null
          ? { result: failureOf(`The upcaster failed: ${outcome.error}`, outcome.passing) }
          : runCode(others, outcome.text);
      if ("result" in ran) results[n] = ran.result;
      else {
        onward.push({ at: n, data: ran.data });
        left = ran.rest;
      }
    }
    if (onward.length === 0) return results;
    const further = await runOn(
      left,
      onward.map((item) => item.data),
      box,
    );
    for (const [n, { at }] of onward.entries()) results[at] = further[n] as Converted;
    return results;
  }

  /** The entry of an event's type and the version that is wanted; null where it is shown as it is stored. */
  function wanted(event: StoredEvent, target: Target): { entry: TypeEntry; to: number } | null {
    const entry = registry.entry(event.type);
    if (entry === undefined) return null;
    const to = wantedVersion(target, event.type, event.schemaVersion, entry.versions.length);
    return to === event.schemaVersion ? null : { entry, to };
  }

  function shaped(event: StoredEvent, to: number, result: Converted): Shaped {
    if ("failure" in result) {
      counters.failed++;
      return result;
    }
    counters.upcast++;
    const attributes = withoutDataSchema(event.attributes);
    return { ...event, schemaVersion: to, data: result.data, attributes, line: null, shown: null };
  }

  function shape(events: readonly StoredEvent[], target: Target, isShared: boolean): Shown<Shaped> {
    if (target === asStored) return events;
    // What is made goes by the registry as it is now, also where it is ready only later.
    const revision = registry.revision();
    let all: Shaped[] | null = null;
    let later: Map<string, { rest: readonly Segment[]; items: Underway[] }> | null = null;

    const put = (at: number, to: number, result: Converted) => {
      const event = events[at] as StoredEvent;
      const as = shaped(event, to, result);
      (all as Shaped[])[at] = as;
      if (isShared && !("passing" in as && as.passing)) kept.keep(event, to, as, revision);
    };

    for (const [at, event] of events.entries()) {
      const want = wanted(event, target);
      if (want === null) continue;
      all ??= [...events];
      const { entry, to } = want;
      const known = isShared ? kept.get(event, to) : null;
      if (known !== null) {
        all[at] = known;
        continue;
      }
      const plan = plans.planOf(entry, event.schemaVersion, to);
      if (event.data === null) put(at, to, failureOf("The event has no JSON data", false));
      else if (plan.failure !== null) put(at, to, plan);
      else {
        const ran = runCode(plan.segments, event.data);
        if ("result" in ran) put(at, to, ran.result);
        else {
          later ??= new Map();
          const key = `${event.type}\n${event.schemaVersion}\n${to}`;
          const group = later.get(key) ?? { rest: ran.rest, items: [] };
          group.items.push({ at, to, data: ran.data });
          later.set(key, group);
        }
      }
    }
    if (all === null) return events;
    if (later === null) return all;
    const done = all;
    const groups = [...later.values()].map(async ({ rest, items }) => {
      const results = await runOn(
        rest,
        items.map((item) => item.data),
      );
      for (const [n, { at, to }] of items.entries()) put(at, to, results[n] as Converted);
    });
    return Promise.all(groups).then(() => done);
  }

  function marking(events: readonly StoredEvent[], target: Target, isShared: boolean): Shown<StoredEvent> {
    const mark = (all: readonly Shaped[]) =>
      all === events
        ? events
        : all.map((item, n) => ("failure" in item ? marked(events[n] as StoredEvent, item.failure) : item));
    const all = shape(events, target, isShared);
    return all instanceof Promise ? all.then(mark) : mark(all);
  }

  return {
    provide: plans.provide,
    show: (events, target) => marking(events, target, false),
    showShared: (events, target) => marking(events, target, true),
    attempt: (events, target) => shape(events, target, true),
    isShownAsStored: (event, target) => wanted(event, target) === null,
    mark: marked,
    async convert(type, from, to, data) {
      const entry = registry.entry(type);
      if (entry === undefined || to > entry.versions.length || from > to)
        return failureOf(`${type} has no way from version ${from} to ${to}`, false);
      const plan = plans.planOf(entry, from, to);
      if (plan.failure !== null) return plan;
      const ran = runCode(plan.segments, data);
      return "result" in ran ? ran.result : ((await runOn(ran.rest, [ran.data], trial))[0] as Converted);
    },
    counters: () => counters,
  };
}

/** The event as it is stored, which says that it could not be upcast. */
function marked(event: StoredEvent, failure: string): StoredEvent {
  const attributes = `${event.attributes.slice(0, -1)},"upcasterror":${JSON.stringify(failure)}}`;
  return { ...event, attributes, line: null, shown: null };
}

/** The producer's own link leads to the schema of what it wrote. */
function withoutDataSchema(attributes: string): string {
  if (!attributes.includes('"dataschema":')) return attributes;
  const { dataschema: _, ...rest } = JSON.parse(attributes) as Record<string, unknown>;
  return JSON.stringify(rest);
}
