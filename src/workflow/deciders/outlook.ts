// Makes lines know what their next command is decided on: looks at the log, and takes turns with other processes.
//
// A process that sends decisions one behind the other is first each time: what others have decided is out of date when their turn at
// the stream's lock comes. So where processes meet on a stream, each sends what waits there at once, and then leaves the others time
// to look at what it has stored and to send theirs.
import { setImmediate } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import type { Fold, Point } from "./fold.ts";
import type { Line, Turn } from "./lines.ts";
import type { Rebuilt } from "./rebuild.ts";
import type { Snapshots } from "./snapshots.ts";

export type Outlook = {
  /** The point as of a look at the log that begins after this call. */
  look: (line: Line) => Promise<Point>;
  /** Whether a command has to wait for its turn. */
  mustWait: (line: Line) => boolean;
  /** Waits until the line knows its tip, and may be sent to. Returns the point of a look that began after this call, if there was one. */
  takeTurn: (line: Line) => Promise<Point | null>;
  /** Another process was first. */
  met: (line: Line) => void;
  /** Takes turns with other processes for a while. */
  yieldTo: (line: Line) => void;
  /** Looks at the log so far. */
  looks: () => number;
};

export type OutlookOptions = {
  rebuild: (fold: Fold, stream: string, known: Point | null) => Promise<Rebuilt>;
  snapshots: Pick<Snapshots, "consider">;
};

/** How long a process takes turns after it has met another, and how close two such meetings are to begin with it. */
const contendedMs = 1_000;
const leastYieldMs = 5;
const mostYieldMs = 50;

export function createOutlook({ rebuild, snapshots }: OutlookOptions): Outlook {
  let looks = 0;

  function look(line: Line): Promise<Point> {
    // One that is under way may have begun before what the caller knows.
    if (line.nextLook !== null) return line.nextLook;
    const begin = () => {
      line.nextLook = null;
      line.look = next;
      return lookNow(line);
    };
    const next: Promise<Point> = (line.look === null ? Promise.resolve() : line.look.then(ignore, ignore))
      .then(begin)
      .finally(() => {
        if (line.look === next) line.look = null;
      });
    line.nextLook = next;
    return next;
  }

  async function lookNow(line: Line): Promise<Point> {
    looks++;
    const known = line.base;
    const { point, snapshotOffset, isAnew } = await rebuild(line.fold, line.stream, known);
    const { base } = line;
    const isFurther = base !== null && base.bornOffset === point.bornOffset && base.offset >= point.offset;
    // What was stored since the look began was stored after the call.
    if (isFurther && !(isAnew && base === known)) return base;
    line.base = point;
    if (isAnew) line.snapshotOffset = snapshotOffset;
    if (line.inFlight === 0 && line.tip !== null) line.tip = point;
    snapshots.consider(line);
    return point;
  }

  const isContended = (line: Line) => performance.now() < line.contendedUntilMs;

  async function nextTurn(line: Line, turn: Turn): Promise<Point | null> {
    if (line.inFlight > 0) await new Promise<void>((resolve) => line.onQuiet.push(resolve));
    const contended = isContended(line);
    if (!contended && line.tip !== null) return null;
    if (contended) {
      const yieldMs = Math.min(Math.max(line.storingMs, leastYieldMs), mostYieldMs) * (0.75 + Math.random() / 2);
      const leftMs = line.storedAtMs + yieldMs - performance.now();
      if (leftMs > 0) await sleep(leftMs);
    }
    turn.isLooking = true;
    const point = await look(line);
    if (line.inFlight === 0) line.tip = line.base;
    if (contended) {
      line.isOpen = true;
      // Whoever has waited goes on before that.
      setImmediate(() => {
        line.isOpen = false;
      });
    }
    return point;
  }

  return {
    look,
    mustWait: (line) => line.tip === null || (!line.isOpen && isContended(line)),
    async takeTurn(line) {
      // A look that has begun already may have missed what the caller knows.
      const isLate = line.turn?.isLooking ?? false;
      if (line.turn === null) {
        const turn: Turn = { promise: Promise.resolve(null), isLooking: false };
        line.turn = turn;
        turn.promise = nextTurn(line, turn).finally(() => {
          line.turn = null;
        });
      }
      const point = await line.turn.promise;
      return isLate ? null : point;
    },
    met(line) {
      const nowMs = performance.now();
      if (nowMs - line.conflictAtMs < contendedMs) line.contendedUntilMs = nowMs + contendedMs;
      line.conflictAtMs = nowMs;
    },
    yieldTo(line) {
      line.contendedUntilMs = performance.now() + contendedMs;
    },
    looks: () => looks,
  };
}

function ignore(): void {}
