// Runs one projection while its lease is held: makes its generations, keeps them up to date, builds new ones, swaps and copies.
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import { pause } from "../../base/pause.ts";
import { type HeldLease, isLeaseLost } from "../../storage/lease.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import { mayPass } from "../../storage/withstand.ts";
import { messageOf } from "../handlers/message-of.ts";
import { knownTypes, type ProjectionDefinition, typesOf } from "./definition.ts";
import { createFold } from "./fold.ts";
import { definitionHash, type Generation, readGenerations } from "./generation.ts";
import { dropGeneration, enrol, makeGeneration, swap, takeSnapshot } from "./generations.ts";
import { noteSetup, readRequests, retireBuilding, snapshotTaken } from "./requests.ts";
import { type Runner, type RunnerCounters, startRunner } from "./runner.ts";
import { createSource, type SourceOptions } from "./source.ts";
import { createSqlHandlers } from "./sql-handlers.ts";

export type Projector = {
  /** There may be events. */
  wake: () => void;
  /** Somebody has decided something: to pause, to rebuild, … */
  tend: () => void;
  stop: () => Promise<void>;
};

export type ProjectorOptions = {
  /** The service's own. */
  serviceSchema: string;
  /** For folds: its connections plan for probes of an index. */
  folds: Pool;
  /** For handlers that write SQL. */
  handlers: Pool;
  /** How long one transaction of theirs takes further events, in milliseconds. */
  budgetMs: number;
  /** A connection of its own for statements that may take long; the caller ends it. */
  connect: () => Sql;
  source: SourceOptions;
  counters: RunnerCounters;
  /** A checkpoint of its tables has moved. */
  onMoved: () => void;
  log: Log;
};

type Running = { generation: number; runner: Runner };

const tendMs = 5_000;
/** What an outage has broken off is tried again after this time, then after twice as much, and so on, in milliseconds. */
const retryMs = 100;
/** For so long those who read the generation that was live before may go on reading, in milliseconds. */
const graceMs = 5_000;
const snapshotsKept = 2;
/** A snapshot that failed is taken again when this time has passed, in milliseconds. */
const snapshotRetryMs = 60_000;
/** What kept a swap from being made, such as somebody who reads a view for long, is given this time to pass, in milliseconds. */
const swapRetryMs = 5_000;
/** How long the live generation stands still for the one that follows it to draw level, in milliseconds. */
const drawLevelMs = 2_000;

export function startProjector(
  definition: ProjectionDefinition,
  lease: HeldLease,
  options: ProjectorOptions,
): Projector {
  const { serviceSchema, folds, handlers, budgetMs, log } = options;
  const { name } = definition;
  const hash = definitionHash(definition);
  const abort = new AbortController();
  let live: Running | null = null;
  let building: Running | null = null;
  let snapshotting: Promise<void> | null = null;
  let snapshotNotBefore = 0;
  let swapNotBefore = 0;
  let toldNewer = false;
  /** Undefined before the first round: what an earlier process has noted may be over. */
  let obstacle: string | null | undefined;
  let outages = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;

  /** A connection of its own, which is cut off when the projection is not run here any more. */
  async function connected<T>(task: (sql: Sql) => Promise<T>): Promise<T> {
    abort.signal.throwIfAborted();
    const sql = options.connect();
    const cut = () => void sql.end({ timeout: 0 });
    abort.signal.addEventListener("abort", cut, { once: true });
    try {
      return await task(sql);
    } finally {
      abort.signal.removeEventListener("abort", cut);
      await sql.end({ timeout: 1 });
    }
  }

  function run(generation: Generation): Running {
    const { schemaName } = generation;
    const apply =
      definition.form === "fold"
        ? createFold(definition, schemaName, folds)
        : createSqlHandlers(definition, { schemaName, serviceSchema, pool: handlers, budgetMs });
    const runner = startRunner({
      generation,
      batchSize: definition.batchSize,
      milestone: definition.snapshotEvery,
      retry: definition.retry,
      lease,
      source: createSource(
        { streams: definition.streams, types: typesOf(definition), known: knownTypes(definition) },
        options.source,
      ),
      apply,
      pool: folds,
      counters: options.counters,
      onChanged: () => loop.wake(),
      onMoved: options.onMoved,
      log,
    });
    return { generation: generation.generation, runner };
  }

  const read = () => folds.run((sql) => readGenerations(sql, name));
  const inRole = (generations: readonly Generation[], role: Generation["role"]) =>
    generations.filter((generation) => generation.role === role);

  async function tend(): Promise<void> {
    const requests = await folds.run((sql) => readRequests(sql, name));
    let generations = await read();
    if (inRole(generations, "live").length === 0) {
      await folds.run((sql) => enrol(sql, definition));
      await connected((sql) => makeGeneration(sql, serviceSchema, definition, { role: "live", from: null, lease }));
      generations = await read();
    }
    const newer = generations.find(({ role, version }) => role === "live" && version > definition.version);
    if (newer !== undefined) {
      await settle(null, null);
      if (!toldNewer)
        log.warn({ projection: name, version: newer.version }, "a newer version of the projection runs elsewhere");
      toldNewer = true;
      return;
    }
    if (await begin(generations, requests.rebuild)) generations = await read();
    const own = (role: Generation["role"]) => inRole(generations, role).find((one) => one.definition === hash) ?? null;
    await settle(own("live"), own("building"));
    if (building !== null && (await follow(generations))) generations = await read();
    snapshot(generations, requests.snapshot);
    await forget(generations);
  }

  /** Begins a new generation where one is asked for, or where the live one was made by another definition. */
  async function begin(generations: readonly Generation[], asked: "beginning" | "snapshot" | null): Promise<boolean> {
    const isLive = inRole(generations, "live").some((one) => one.definition === hash);
    const [under] = inRole(generations, "building");
    if (asked === null && (isLive ? under === undefined || under.definition === hash : under?.definition === hash))
      return false;
    await settle(live === null ? null : (generations.find((one) => one.generation === live?.generation) ?? null), null);
    if (asked === null && isLive) {
      // The definition is again what it was before the one that began to be built.
      await folds.run((sql) => retireBuilding(sql, name));
      return true;
    }
    const copies = inRole(generations, "snapshot").filter((one) => one.definition === hash);
    const from = asked === "snapshot" ? (copies.at(-1) ?? null) : null;
    await connected((sql) => makeGeneration(sql, serviceSchema, definition, { role: "building", from, lease }));
    log.info(
      { projection: name, version: definition.version, from: from?.position ?? "beginning" },
      "a projection is built anew",
    );
    return true;
  }

  /** Lets these run, and no others. */
  async function settle(wantedLive: Generation | null, wantedBuilding: Generation | null): Promise<void> {
    if (live !== null && live.generation !== wantedLive?.generation) {
      await live.runner.stop();
      live = null;
    }
    if (building !== null && building.generation !== wantedBuilding?.generation) {
      await building.runner.stop();
      building = null;
    }
    if (abort.signal.aborted) return;
    if (live === null && wantedLive !== null) live = run(wantedLive);
    if (building === null && wantedBuilding !== null) building = run(wantedBuilding);
    live?.runner.wake();
    building?.runner.wake();
  }

  /** Puts the new generation in the place of the live one, once it has come as far. Returns whether it did. */
  async function follow(generations: readonly Generation[]): Promise<boolean> {
    const next = building;
    const before = live;
    const [answering] = inRole(generations, "live");
    const own = generations.find(({ generation }) => generation === next?.generation);
    if (next === null || own === undefined || own.halted || own.paused || performance.now() < swapNotBefore)
      return false;
    if (!next.runner.caughtUp() && (before !== null || next.runner.position() < (answering?.position ?? -1)))
      return false;
    swapNotBefore = performance.now() + swapRetryMs;
    try {
      // However busy the log is: the live one waits for the other to draw level, so neither is ahead in the moment of the swap.
      const goal = before === null ? (answering?.position ?? -1) : await before.runner.hold();
      const endMs = performance.now() + drawLevelMs;
      while ((await next.runner.hold()) < goal) {
        next.runner.release();
        if (performance.now() > endMs || abort.signal.aborted) return false;
        await pause(5, abort.signal);
      }
      if (!(await connected((sql) => swap(sql, serviceSchema, own, lease)))) return false;
      await before?.runner.stop();
      live = next;
      building = null;
      swapNotBefore = 0;
      log.info(
        { projection: name, generation: next.generation },
        "a projection has been swapped for the one that was built anew",
      );
      return true;
    } finally {
      before?.runner.release();
      next.runner.release();
    }
  }

  /** Takes a snapshot in the background, where one is asked for or due. */
  function snapshot(generations: readonly Generation[], isAsked: boolean): void {
    if (snapshotting !== null || live === null || abort.signal.aborted) return;
    const last = inRole(generations, "snapshot")
      .filter((one) => one.definition === hash)
      .at(-1);
    const { snapshotEvery } = definition;
    const isDue =
      snapshotEvery > 0 &&
      live.runner.events() - (last?.events ?? 0) >= snapshotEvery &&
      performance.now() >= snapshotNotBefore;
    if (!isAsked && !isDue) return;
    snapshotting = connected((sql) => takeSnapshot(sql, serviceSchema, definition))
      .then(
        (taken) => (taken ? null : "there is no live generation of this definition"),
        (error: unknown) => {
          log.warn({ err: error, projection: name }, "a snapshot of a projection failed");
          return messageOf(error);
        },
      )
      .then(async (failure) => {
        if (failure !== null) snapshotNotBefore = performance.now() + snapshotRetryMs;
        if (!abort.signal.aborted) await folds.run((sql) => snapshotTaken(sql, name, failure));
      })
      .catch((error: unknown) => log.debug({ err: error }, "what became of a snapshot could not be noted"))
      .finally(() => {
        snapshotting = null;
        loop.wake();
      });
  }

  /** Drops what nobody needs any more. */
  async function forget(generations: readonly Generation[]): Promise<void> {
    const retired = inRole(generations, "retired").filter(({ inRoleMs }) => inRoleMs >= graceMs);
    const copies = inRole(generations, "snapshot");
    for (const generation of [...retired, ...copies.slice(0, -snapshotsKept)])
      await connected((sql) => dropGeneration(sql, generation));
  }

  /** What is in the way of its tables is shown with how it stands. An outage is told by others, and shown by nobody. */
  async function round(): Promise<void> {
    try {
      await tend();
      if (obstacle !== null) await folds.run((sql) => noteSetup(sql, name, null));
      obstacle = null;
      outages = 0;
    } catch (error) {
      if (abort.signal.aborted) return;
      if (mayPass(error) || isLeaseLost(error)) {
        log.debug({ err: error, projection: name }, "a projection could not be looked after");
        if (isLeaseLost(error)) return;
        // Nobody runs the projection until the first round has come to its end.
        clearTimeout(retry);
        retry = setTimeout(() => loop.wake(), Math.min(tendMs, retryMs * 2 ** outages++));
        return;
      }
      const message = messageOf(error);
      if (message !== obstacle) log.warn({ err: error, projection: name }, "tables of a projection cannot be made");
      obstacle = message;
      await folds.run((sql) => noteSetup(sql, name, message));
    }
  }
  const loop: Loop = startLoop(`projection ${name}`, tendMs, round, log);
  return {
    wake() {
      live?.runner.wake();
      building?.runner.wake();
    },
    tend: () => loop.wake(),
    async stop() {
      abort.abort(new Error(`the projection ${name} is not run here any more`));
      await loop.stop();
      clearTimeout(retry);
      await settle(null, null);
      await snapshotting;
    },
  };
}
