// Runs the commands of deciders: decides them on the state of their stream, and appends what they come to.
//
// The commands of one stream stand in a line. Each is decided on the state that those before it will have led to, as soon as they
// are decided, and expects their events at the end of its stream; so they are stored together, and none waits for a commit but its
// own. The log judges: where one of them is refused, so are those behind it, and they are decided anew.
import { commandConflict, invalidStreamName, Problem, shuttingDown } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import type { Pool } from "../../storage/pool.ts";
import type { Appended } from "../../stream/append.ts";
import type { ExactVersion } from "../../stream/append-request.ts";
import { type NewEvent, streamName } from "../../stream/event.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import type { Cause, Emission } from "../events/emission.ts";
import { deepFreeze } from "../handlers/deep-freeze.ts";
import { Defect } from "../handlers/defect.ts";
import { decide } from "./decide.ts";
import type { DeciderCommand, DeciderDefinition } from "./decider.ts";
import type { Point } from "./fold.ts";
import { foresee } from "./foresee.ts";
import { createLines, type Line } from "./lines.ts";
import { createOutlook } from "./outlook.ts";
import { rebuild } from "./rebuild.ts";
import { createSnapshots } from "./snapshots.ts";

/**
 * Appends the events of a decision to the stream, if it is at the expected version. It hands them to the appender at once, without
 * waiting for anything before: the decisions of a line are sent in the order in which they build on each other.
 */
export type Commit = (
  stream: string,
  events: readonly NewEvent[],
  expected: ExactVersion,
  result: unknown,
) => Promise<Appended>;

export type DeciderRun = {
  /** What the events bear. */
  cause: Cause;
  /** Fires when nobody waits for the answer any more: what is sent to be stored by then is stored all the same. */
  signal: AbortSignal;
  commit: Commit;
};

/** What a command came to. */
export type Decided = {
  stream: string;
  result: unknown;
  /** Null where the decision was that nothing happens: `commit` was not called for it. */
  appended: Appended | null;
};

export type Deciders = {
  /**
   * Runs a command whose body is valid. Throws `Rejection` when it is refused; `command-conflict`, `state-not-rebuilt`,
   * `schemas-unavailable`, `invalid-stream-name`, and what `commit` throws but for `wrong-expected-version`; `storage-unavailable`
   * when the stream cannot be read; any other error is a defect of the decider, told in a plain sentence.
   */
  run: (decider: DeciderDefinition, command: DeciderCommand, body: unknown, run: DeciderRun) => Promise<Decided>;
  /** Takes turns with the other processes on these streams for a moment: one of them is always too late. */
  yieldTo: (streams: readonly string[]) => void;
  counters: () => DeciderCounters;
  /** Waits for snapshots under way. */
  stop: () => Promise<void>;
};

export type DeciderCounters = {
  /** Commands that were answered, also by a refusal. */
  commands: number;
  /** Looks at streams: at ones that were not known, at ones that others had appended to, and before something is refused. */
  looks: number;
  /** Decisions that others were faster than, and that were made anew. */
  conflicts: number;
  snapshots: number;
  failedSnapshots: number;
  /** Streams whose state is kept in memory, and about the bytes of their states. */
  kept: number;
  keptBytes: number;
};

export type DecidersOptions = {
  reads: Pool;
  writes: Pool;
  upcasting: Pick<Upcasting, "attempt">;
  emission: Emission;
  log: Log;
  /** Asks the other processes to take turns on a stream. */
  announce?: (stream: string) => void;
  /** Streams whose state is kept in memory, at most; default 10,000. */
  maxKept?: number;
  /** Bytes of the states that are kept; default 64 MB. */
  maxKeptBytes?: number;
};

const maxAttempts = 8;
/** The first attempts follow at once: most conflicts are over by the next look. */
const quickAttempts = 3;
const pauseMs = 4;

/** What a decision is before it is stored. */
type Prepared = { events: NewEvent[]; result: unknown; after: Point | null };
/** What a command came to on some state: something to be stored, or an answer that is only as good as the state. */
type Outcome = { prepared: Prepared } | { answer: () => Decided };

export function createDeciders(options: DecidersOptions): Deciders {
  const { reads, upcasting, emission, log } = options;
  const lines = createLines(options.maxKept ?? 10_000, options.maxKeptBytes ?? 64_000_000);
  const snapshots = createSnapshots({ pool: options.writes, log });
  const outlook = createOutlook({
    rebuild: (fold, stream, known) => rebuild({ pool: reads, upcasting }, fold, stream, known),
    snapshots,
  });
  const counters = { commands: 0, conflicts: 0 };
  let stopped = false;

  /** What was foreseen in this generation of the line does not come to pass. */
  function end(line: Line, generation: number, why: "conflict" | "failure"): void {
    if (line.generation !== generation) return;
    line.generation++;
    line.lastEnd = why;
    line.tip = null;
    if (why === "conflict") outlook.met(line);
  }

  function outcomeOn(line: Line, point: Point, command: DeciderCommand, body: unknown, cause: Cause): Outcome {
    const { stream, fold } = line;
    try {
      const { events: drafts, result } = decide(command, point.state, body);
      if (drafts.length === 0) return { answer: () => ({ stream, result, appended: null }) };
      const events = drafts.map((draft) => emission(stream, draft, cause));
      return { prepared: { events, result, after: foresee(fold, point, stream, events, upcasting) } };
    } catch (error) {
      return {
        answer() {
          throw error;
        },
      };
    }
  }

  /** Sends a decision to be stored. Null when another one was first; the line has then to be asked anew. */
  async function store(
    line: Line,
    tip: Point,
    { events, result, after }: Prepared,
    commit: Commit,
  ): Promise<Decided | null> {
    const { stream, generation } = line;
    const sentAtMs = performance.now();
    line.tip = after;
    line.inFlight++;
    try {
      const stored = commit(stream, events, versionOf(tip), result);
      if (after !== null) after.settled = stored.then(ignore, ignore);
      const appended = await stored;
      line.storedAtMs = performance.now();
      line.storingMs = line.storedAtMs - sentAtMs;
      if (!isAsForeseen(appended, tip)) end(line, generation, "failure");
      else if (after !== null) {
        after.position = appended.lastPosition;
        after.isStored = true;
        after.settled = null;
        const { base } = line;
        if (base === null || (base.bornOffset === after.bornOffset && base.offset < after.offset)) line.base = after;
        snapshots.consider(line);
      }
      return { stream, result, appended };
    } catch (error) {
      const isConflict = error instanceof Problem && error.code === "wrong-expected-version";
      end(line, generation, isConflict ? "conflict" : "failure");
      if (isConflict) return null;
      throw error;
    } finally {
      line.inFlight--;
      if (line.inFlight === 0) {
        // Nothing is foreseen any more; a look may have brought what others have appended meanwhile.
        if (line.tip !== null) line.tip = line.base;
        for (const tell of line.onQuiet.splice(0)) tell();
      }
    }
  }

  async function runOn(line: Line, command: DeciderCommand, body: unknown, { cause, signal, commit }: DeciderRun) {
    let seen: Point | null = null;
    for (let attempt = 1; attempt <= maxAttempts; ) {
      signal.throwIfAborted();
      while (outlook.mustWait(line)) seen = await outlook.takeTurn(line);
      const tip = line.tip as Point;
      let outcome = outcomeOn(line, tip, command, body, cause);
      if ("answer" in outcome) {
        // Nothing that is stored proves that the state was the newest one: another process may have gone on.
        const now: Point = tip === seen ? tip : await outlook.look(line);
        if (now !== tip) outcome = outcomeOn(line, now, command, body, cause);
        if ("answer" in outcome) return outcome.answer();
        // On what is stored it comes to something, on what is foreseen it does not: that has to be settled first.
        if (line.tip !== now) {
          await tip.settled;
          attempt++;
          continue;
        }
      }
      const { generation } = line;
      const decided = await store(line, line.tip as Point, outcome.prepared, commit);
      if (decided !== null) return decided;
      counters.conflicts++;
      // One that was behind another which failed for reasons of its own has met nobody.
      if (line.generation !== generation + 1 || line.lastEnd === "conflict") attempt++;
      if (attempt >= quickAttempts) options.announce?.(line.stream);
      if (attempt > quickAttempts) await pause(Math.random() * pauseMs * 2 ** (attempt - quickAttempts), signal);
    }
    throw commandConflict(command.name, line.stream, maxAttempts);
  }

  return {
    async run(decider, command, body, run) {
      if (stopped) throw shuttingDown();
      deepFreeze(body);
      const id: unknown = command.id(body);
      if (typeof id !== "string") throw new Defect("its id is no text");
      const stream: unknown = decider.stream(id);
      if (typeof stream !== "string" || !streamName.test(stream)) throw invalidStreamName(String(stream));
      const line = lines.enter(decider, stream);
      try {
        return await runOn(line, command, body, run);
      } finally {
        counters.commands++;
        lines.leave(line);
      }
    },
    yieldTo(streams) {
      for (const stream of streams) for (const line of lines.of(stream)) outlook.yieldTo(line);
    },
    counters: () => ({
      ...counters,
      looks: outlook.looks(),
      ...snapshots.counters(),
      kept: lines.count(),
      keptBytes: lines.bytes(),
    }),
    async stop() {
      stopped = true;
      await snapshots.stop();
    },
  };
}

/** The version that a decision on this point expects. */
function versionOf({ offset, bornOffset, eventId, isStored }: Point): ExactVersion {
  // What is stored keeps its offset for ever; what is under way may yet be refused, and another event stand there.
  return { offset, bornOffset, eventId: isStored ? null : eventId };
}

/** Whether the events stand right behind the point, each of them new. */
function isAsForeseen({ events }: Appended, tip: Point): boolean {
  return events.every((event, n) => !event.duplicate && event.offset === tip.offset + 1 + n);
}

function ignore(): void {}
