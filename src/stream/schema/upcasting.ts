// Brings events to the versions in which they are wanted, hop by hop: by code of modules, and by expressions in the sandbox.
import { contentHash } from "../../base/ids.ts";
import type { StoredEvent, UpcastFailure } from "../event.ts";
import type { Registry, TypeEntry } from "./registry.ts";
import type { Program } from "./sandbox/protocol.ts";
import type { Sandbox } from "./sandbox/sandbox.ts";
import { type Target, wantedVersion } from "./target.ts";

/** Code of a module that makes data of one version of data of the version before; pure, and it leaves what it is given as it is. */
export type CodeUpcaster = (data: unknown) => unknown;

export type Upcasting = {
  /** Code for the hop to a version of a type. */
  provide: (type: string, version: number, upcaster: CodeUpcaster) => void;
  /**
   * The events as a target wants them, at once where nothing has to be waited for; the same array where nothing is changed. What
   * cannot be upcast is left as it is stored, and says why in its attribute `upcasterror`. Rejects with problems of the sandbox.
   */
  show: (events: readonly StoredEvent[], target: Target) => readonly StoredEvent[] | Promise<readonly StoredEvent[]>;
  /** The same, with failures in the places of what cannot be upcast. */
  attempt: (
    events: readonly StoredEvent[],
    target: Target,
  ) => readonly (StoredEvent | UpcastFailure)[] | Promise<readonly (StoredEvent | UpcastFailure)[]>;
  /** Whether the event would be shown as it is. */
  isShownAsStored: (event: StoredEvent, target: Target) => boolean;
  /** Data of one version as JSON text of another. */
  convert: (type: string, from: number, to: number, data: string) => Promise<{ data: string } | UpcastFailure>;
  counters: () => { upcast: number; failed: number };
};

/** A run of hops of one kind; the others leave the data as they are. */
type Segment = { code: readonly CodeUpcaster[] } | { programs: readonly Program[] };
type Plan = { segments: readonly Segment[]; failure: null } | UpcastFailure;
type Result = { data: string } | UpcastFailure;

const noData = "The event has no JSON data";
const maxFailure = 500;

export function createUpcasting(registry: Registry, sandbox: Pick<Sandbox, "run">): Upcasting {
  const provided = new Map<string, CodeUpcaster>();
  const plans = new WeakMap<TypeEntry, Map<string, Plan>>();
  const counters = { upcast: 0, failed: 0 };

  function planOf(entry: TypeEntry, from: number, to: number): Plan {
    const known = plans.get(entry) ?? new Map<string, Plan>();
    plans.set(entry, known);
    const key = `${from} ${to}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    const plan = makePlan(entry, from, to);
    // What a module has yet to provide may come.
    if (!("passing" in plan && plan.passing)) known.set(key, plan);
    return plan;
  }

  function makePlan({ type, versions }: TypeEntry, from: number, to: number): Plan {
    const segments: ({ code: CodeUpcaster[] } | { programs: Program[] })[] = [];
    for (let version = from + 1; version <= to; version++) {
      const { upcast, readsPrevious } = versions[version - 1] as TypeEntry["versions"][number];
      const last = segments.at(-1);
      if (upcast?.language === "jsonata") {
        const program = { key: contentHash([upcast.expression]), text: upcast.expression };
        if (last !== undefined && "programs" in last) last.programs.push(program);
        else segments.push({ programs: [program] });
      } else if (upcast?.language === "code") {
        const code = provided.get(codeKey(type, version));
        const name = `${type} ${version - 1} → ${version}`;
        if (code === undefined) return failureOf(`The upcaster ${name} is code that this process does not have`, true);
        if (last !== undefined && "code" in last) last.code.push(code);
        else segments.push({ code: [code] });
      } else if (!readsPrevious) return failureOf(`There is no upcaster ${type} ${version - 1} → ${version}`, false);
    }
    return { segments, failure: null };
  }

  /** Runs data through segments of code, up to the first that is for the sandbox: the rest, or the result. */
  function runCode(
    segments: readonly Segment[],
    data: string,
  ): { result: Result } | { data: string; rest: readonly Segment[] } {
    for (const [n, segment] of segments.entries()) {
      if ("programs" in segment) return { data, rest: segments.slice(n) };
      try {
        let value: unknown = JSON.parse(data);
        for (const code of segment.code) {
          value = code(value);
          if (!(value instanceof Promise)) continue;
          // Nobody waits for it: it must not end the process either.
          value.catch(() => {});
          return { result: failureOf("The upcaster gives a promise", false) };
        }
        const text = JSON.stringify(value);
        if (text === undefined) return { result: failureOf("The upcaster gives nothing", false) };
        data = text;
      } catch (error) {
        return { result: failureOf(`The upcaster failed: ${error instanceof Error ? error.message : error}`, false) };
      }
    }
    return { result: { data } };
  }

  /** Runs the rest of many data, which begins in the sandbox. */
  async function runOn(rest: readonly Segment[], data: readonly string[]): Promise<Result[]> {
    const [first, ...others] = rest;
    if (first === undefined || "code" in first) throw new Error("what is left begins in the sandbox");
    const outcomes = await sandbox.run("upcast", first.programs, data);
    const results: Result[] = new Array(data.length);
    const onward: { at: number; data: string }[] = [];
    let left: readonly Segment[] = [];
    for (const [n, { text, error }] of outcomes.entries()) {
      if (text === null) {
        results[n] = failureOf(`The upcaster failed: ${error}`, false);
        continue;
      }
      const ran = runCode(others, text);
      if ("result" in ran) results[n] = ran.result;
      else {
        onward.push({ at: n, data: ran.data });
        left = ran.rest;
      }
    }
    if (onward.length > 0) {
      const more = await runOn(
        left,
        onward.map((item) => item.data),
      );
      for (const [n, { at }] of onward.entries()) results[at] = more[n] as Result;
    }
    return results;
  }

  /** The entry of an event's type and the version that is wanted; null where it is shown as it is stored. */
  function wanted(event: StoredEvent, target: Target): { entry: TypeEntry; to: number } | null {
    const entry = registry.entry(event.type);
    if (entry === undefined) return null;
    const to = wantedVersion(target, event.type, event.schemaVersion, entry.versions.length);
    return to === event.schemaVersion ? null : { entry, to };
  }

  function made(event: StoredEvent, to: number, result: Result): StoredEvent | UpcastFailure {
    let as: StoredEvent | UpcastFailure = result as UpcastFailure;
    if ("failure" in result) counters.failed++;
    else {
      counters.upcast++;
      const attributes = withoutDataSchema(event.attributes);
      as = { ...event, schemaVersion: to, data: result.data, attributes, line: null, shown: null };
    }
    // Whoever else wants it so has the same object, with its envelope once that is made.
    if (!("passing" in as && as.passing))
      event.shown = { revision: registry.revision(), version: to, as, next: stillGood(event, to) };
    return as;
  }

  function stillGood({ shown }: StoredEvent, besides: number): StoredEvent["shown"] {
    return shown !== null && shown.revision === registry.revision() && shown.version !== besides ? shown : null;
  }

  function cached(event: StoredEvent, to: number): StoredEvent | UpcastFailure | null {
    const revision = registry.revision();
    for (let shown = event.shown; shown !== null; shown = shown.next)
      if (shown.version === to && shown.revision === revision) return shown.as;
    return null;
  }

  function attempt(events: readonly StoredEvent[], target: Target): ReturnType<Upcasting["attempt"]> {
    if (target.others === "stored" && target.versions.size === 0) return events;
    let shown: (StoredEvent | UpcastFailure)[] | null = null;
    /** What has to go through the sandbox, by the segments that are left for it. */
    let later: Map<string, { rest: readonly Segment[]; items: { at: number; to: number; data: string }[] }> | null =
      null;
    for (const [at, event] of events.entries()) {
      const want = wanted(event, target);
      if (want === null) continue;
      shown ??= [...events];
      const { entry, to } = want;
      const known = cached(event, to);
      if (known !== null) {
        shown[at] = known;
        continue;
      }
      if (event.data === null) {
        shown[at] = made(event, to, failureOf(noData, false));
        continue;
      }
      const plan = planOf(entry, event.schemaVersion, to);
      if (plan.failure !== null) {
        shown[at] = made(event, to, plan);
        continue;
      }
      const ran = runCode(plan.segments, event.data);
      if ("result" in ran) {
        shown[at] = made(event, to, ran.result);
        continue;
      }
      later ??= new Map();
      const key = `${event.type}\n${event.schemaVersion}\n${to}`;
      const group = later.get(key) ?? { rest: ran.rest, items: [] };
      group.items.push({ at, to, data: ran.data });
      later.set(key, group);
    }
    if (shown === null) return events;
    if (later === null) return shown;
    const all = shown;
    const groups = [...later.values()].map(async ({ rest, items }) => {
      const results = await runOn(
        rest,
        items.map((item) => item.data),
      );
      for (const [n, { at, to }] of items.entries())
        all[at] = made(events[at] as StoredEvent, to, results[n] as Result);
    });
    return Promise.all(groups).then(() => all);
  }

  function mark(
    events: readonly StoredEvent[],
    shown: readonly (StoredEvent | UpcastFailure)[],
  ): readonly StoredEvent[] {
    if (shown === events) return events;
    return shown.map((item, n) => ("failure" in item ? marked(events[n] as StoredEvent, item.failure) : item));
  }

  return {
    provide(type, version, upcaster) {
      provided.set(codeKey(type, version), upcaster);
    },
    attempt,
    show(events, target) {
      const shown = attempt(events, target);
      return shown instanceof Promise ? shown.then((done) => mark(events, done)) : mark(events, shown);
    },
    isShownAsStored: (event, target) => wanted(event, target) === null,
    async convert(type, from, to, data) {
      const entry = registry.entry(type);
      if (entry === undefined || to > entry.versions.length || from > to)
        return failureOf(`${type} has no way from version ${from} to ${to}`, false);
      const plan = planOf(entry, from, to);
      if (plan.failure !== null) return plan;
      const ran = runCode(plan.segments, data);
      return "result" in ran ? ran.result : ((await runOn(ran.rest, [ran.data]))[0] as Result);
    },
    counters: () => counters,
  };
}

const codeKey = (type: string, version: number) => `${type}\n${version}`;

// It travels as an attribute, which holds no control characters (CloudEvents 1.0, section 2).
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const controlCharacters = /[\u0000-\u001f\u007f-\u009f]+/g;

function failureOf(failure: string, passing: boolean): UpcastFailure {
  return { failure: failure.replace(controlCharacters, " ").slice(0, maxFailure).toWellFormed(), passing };
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
