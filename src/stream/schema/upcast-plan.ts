// The way from one version of a type to a later one: runs of code and runs of expressions, hop by hop.
import { contentHash } from "../../base/ids.ts";
import type { UpcastFailure } from "../event.ts";
import type { TypeEntry } from "./registry.ts";
import type { Program } from "./sandbox/protocol.ts";

/** Code of a module that makes data of one version of data of the version before; pure, and it leaves what it is given as it is. */
export type CodeUpcaster = (data: unknown) => unknown;

/** A run of hops of one kind; hops without an upcaster leave the data as they are. */
export type Segment = { code: readonly CodeUpcaster[] } | { programs: readonly Program[] };
export type Plan = { segments: readonly Segment[]; failure: null } | UpcastFailure;
/** Data as JSON text. */
export type Converted = { data: string } | UpcastFailure;

export type Plans = {
  /** Code for the hop to a version of a type. */
  provide: (type: string, version: number, upcaster: CodeUpcaster) => void;
  planOf: (entry: TypeEntry, from: number, to: number) => Plan;
};

const maxFailure = 500;
// It travels as an attribute, which holds no control characters (CloudEvents 1.0, section 2).
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const controlCharacters = /[\u0000-\u001f\u007f-\u009f]+/g;

export function failureOf(failure: string, passing: boolean): UpcastFailure {
  return { failure: failure.replace(controlCharacters, " ").slice(0, maxFailure).toWellFormed(), passing };
}

export function createPlans(): Plans {
  const provided = new Map<string, CodeUpcaster>();
  const plans = new WeakMap<TypeEntry, Map<string, Plan>>();
  const codeKey = (type: string, version: number) => `${type}\n${version}`;

  function make({ type, versions }: TypeEntry, from: number, to: number): Plan {
    const segments: ({ code: CodeUpcaster[] } | { programs: Program[] })[] = [];
    for (let version = from + 1; version <= to; version++) {
      const { upcast, readsPrevious } = versions[version - 1] as TypeEntry["versions"][number];
      const last = segments.at(-1);
      const hop = `${type} ${version - 1} → ${version}`;
      if (upcast?.language === "jsonata") {
        const program = { key: contentHash([upcast.expression]), text: upcast.expression };
        if (last !== undefined && "programs" in last) last.programs.push(program);
        else segments.push({ programs: [program] });
      } else if (upcast?.language === "code") {
        const code = provided.get(codeKey(type, version));
        if (code === undefined) return failureOf(`The upcaster ${hop} is code that this process does not have`, true);
        if (last !== undefined && "code" in last) last.code.push(code);
        else segments.push({ code: [code] });
      } else if (!readsPrevious) return failureOf(`There is no upcaster ${hop}`, false);
    }
    return { segments, failure: null };
  }

  return {
    provide(type, version, upcaster) {
      provided.set(codeKey(type, version), upcaster);
    },
    planOf(entry, from, to) {
      let known = plans.get(entry);
      if (known === undefined) {
        known = new Map();
        plans.set(entry, known);
      }
      const key = `${from} ${to}`;
      const found = known.get(key);
      if (found !== undefined) return found;
      const plan = make(entry, from, to);
      // What a module has yet to provide may come.
      if (plan.failure === null || !plan.passing) known.set(key, plan);
      return plan;
    },
  };
}

/** Runs data through the code that a way begins with: the result, or what is left for the sandbox to begin with. */
export function runCode(
  segments: readonly Segment[],
  data: string,
): { result: Converted } | { data: string; rest: readonly Segment[] } {
  let text = data;
  for (const [n, segment] of segments.entries()) {
    if ("programs" in segment) return { data: text, rest: segments.slice(n) };
    try {
      let value: unknown = JSON.parse(text);
      for (const code of segment.code) {
        value = code(value);
        if (!(value instanceof Promise)) continue;
        // Nobody waits for it: it must not end the process either.
        value.catch(() => {});
        return { result: failureOf("The upcaster gives a promise", false) };
      }
      const made = JSON.stringify(value);
      if (made === undefined) return { result: failureOf("The upcaster gives nothing", false) };
      text = made;
    } catch (error) {
      return { result: failureOf(`The upcaster failed: ${error instanceof Error ? error.message : error}`, false) };
    }
  }
  return { result: { data: text } };
}
