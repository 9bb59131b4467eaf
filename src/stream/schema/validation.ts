// Checks events against the schemas of their versions as they are appended, where their stream wants it.
import { type Problem, schemaMismatch, schemasUnavailable, type Violation } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Pool } from "../../storage/pool.ts";
import type { NewEvent } from "../event.ts";
import type { Registry, TypeEntry } from "./registry.ts";
import { readVersion } from "./registry-tables.ts";
import type { Program } from "./sandbox/protocol.ts";
import type { Sandbox } from "./sandbox/sandbox.ts";

/** What a stream does with events that do not match their schemas; by their places, in the database. */
export const validations = ["off", "warn", "enforce"] as const;
export type ValidationMode = (typeof validations)[number];
const warns = validations.indexOf("warn");

/** How a request was checked: by which mode, and what is wrong with it; null when nothing is. */
export type Checked = { mode: number; mismatch: Problem | null };

export type Validation = {
  /** How a stream validates, as far as this process has heard: a place in `validations`. */
  modeOf: (stream: string) => number;
  /** A stream validates otherwise than was thought. */
  correct: (stream: string, mode: number) => void;
  /** Checks the events of one request. Throws problems of the sandbox and of the database. */
  check: (stream: string, mode: number, events: readonly NewEvent[], isList: boolean) => Promise<Checked>;
  /** Events that were checked, by stream. */
  counters: () => ({ stream: string } & ValidationCounters)[];
};

/** `refused`: those that did not match, though others of their request may have been stored before. */
export type ValidationCounters = { valid: number; warned: number; refused: number };

export type ValidationOptions = {
  registry: Registry;
  sandbox: Pick<Sandbox, "run">;
  pool: Pool;
  log: Log;
};

type KnownProgram = { entry: TypeEntry; program: Program };
type Placed = { event: NewEvent; path: string };

const maxPrograms = 500;
const maxModes = 50_000;
const maxWarned = 1_000;
/** Each has time series of its own. */
const maxCounted = 200;
const maxProgramBytes = 32_000_000;
/** A stream that receives many events that do not match says so about once in this time for each type. */
const warnEveryMs = 60_000;

export function createValidation({ registry, sandbox, pool, log }: ValidationOptions): Validation {
  /** Of streams that validate, as the log has said: it corrects whoever thinks otherwise. */
  const modes = new Map<string, number>();
  const programs = new Map<string, KnownProgram>();
  let programBytes = 0;
  const counters = new Map<string, ValidationCounters>();
  const warnedAt = new Map<string, number>();

  /** The schema of a version; null when there is none, also after another look. */
  async function programOf(type: string, version: number): Promise<Program | null> {
    if (registry.latest(type) < version) await registry.refresh();
    const entry = registry.entry(type);
    if (entry === undefined || entry.versions.length < version) return null;
    const key = `${type}\n${version}`;
    const known = programs.get(key);
    if (known?.entry === entry) {
      programs.delete(key);
      programs.set(key, known);
      return known.program;
    }
    const found = await pool.run((sql) => readVersion(sql, type, version));
    if (found === null) return null;
    forget(key);
    const program: Program = { key: found.contentHash, text: found.schema };
    programs.set(key, { entry, program });
    programBytes += program.text.length;
    for (const oldest of programs.keys()) {
      if (programs.size <= maxPrograms && (programBytes <= maxProgramBytes || oldest === key)) break;
      forget(oldest);
    }
    return program;
  }

  function forget(key: string): void {
    programBytes -= programs.get(key)?.program.text.length ?? 0;
    programs.delete(key);
  }

  async function checkSame(type: string, version: number, placed: readonly Placed[]): Promise<Violation[]> {
    const violations: Violation[] = [];
    const program = await programOf(type, version);
    if (program === null) {
      const latest = registry.latest(type);
      const [path, message] =
        latest === 0 ? ["/type", `${type} has no schema`] : ["/schemaversion", `${type} has versions 1 to ${latest}`];
      return placed.map((item) => ({ path: item.path + path, message }));
    }
    const withData = placed.filter(({ event }) => event.data !== null);
    for (const { event, path } of placed)
      if (event.data === null)
        violations.push({ path: `${path}/data`, message: event.binary === null ? "is required" : "must be JSON" });
    const outcomes = await sandbox.run(
      "validate",
      [program],
      withData.map(({ event }) => event.data as string),
    );
    for (const [n, outcome] of outcomes.entries()) {
      // Nothing can be said of the event now.
      if (outcome.text === null && outcome.passing)
        throw schemasUnavailable(`${type} version ${version}: ${outcome.error}`);
      const { text, error } = outcome;
      const path = `${(withData[n] as Placed).path}/data`;
      if (text === null) violations.push({ path, message: `cannot be checked: ${error}` });
      else if (text !== "")
        for (const found of JSON.parse(text) as Violation[])
          violations.push({ path: path + found.path, message: found.message });
    }
    return violations;
  }

  /** Streams beyond the first many share the name of none. */
  function countersOf(stream: string): ValidationCounters {
    const name = counters.has(stream) || counters.size < maxCounted ? stream : "";
    const counts = counters.get(name) ?? { valid: 0, warned: 0, refused: 0 };
    counters.set(name, counts);
    return counts;
  }

  function warn(stream: string, type: string, violations: readonly Violation[]): void {
    const key = `${stream}\n${type}`;
    const now = performance.now();
    if (now - (warnedAt.get(key) ?? Number.NEGATIVE_INFINITY) < warnEveryMs) return;
    if (warnedAt.size >= maxWarned) warnedAt.clear();
    warnedAt.set(key, now);
    log.warn({ stream, type, violations: violations.slice(0, 5) }, "events do not match their schema");
  }

  return {
    modeOf: (stream) => modes.get(stream) ?? 0,
    correct(stream, mode) {
      if (modes.size >= maxModes) modes.clear();
      if (mode === 0) modes.delete(stream);
      else modes.set(stream, mode);
    },
    async check(stream, mode, events, isList) {
      const placed = events.map((event, n) => ({ event, path: isList ? `/${n}` : "" }));
      const groups = Map.groupBy(placed, ({ event }) => `${event.schemaVersion} ${event.type}`);
      const checked = [...groups.values()].map(async (same) => {
        const { type, schemaVersion } = (same[0] as Placed).event;
        return { type, violations: await checkSame(type, schemaVersion, same) };
      });
      const results = await Promise.all(checked).catch((error: unknown) => {
        if (mode !== warns) throw error;
        // A warning is worth less than the append.
        log.warn({ err: error, stream }, "events could not be checked against their schemas");
        return null;
      });
      if (results === null) return { mode, mismatch: null };
      const found = results.filter(({ violations }) => violations.length > 0);
      const violations = found.flatMap((group) => group.violations);
      const paths = new Set(violations.map(({ path }) => (isList ? path.split("/", 2)[1] : "")));
      const counts = countersOf(stream);
      counts[mode === warns ? "warned" : "refused"] += paths.size;
      counts.valid += events.length - paths.size;
      for (const group of found) warn(stream, group.type, group.violations);
      return { mode, mismatch: violations.length === 0 ? null : schemaMismatch(violations) };
    },
    counters: () => [...counters].map(([stream, counts]) => ({ stream, ...counts })),
  };
}
