// How far a sandbox has come, as its watchdog sees it from another thread.
import type { Place } from "./verdict.ts";

export type Progress = {
  /** A step is begun, which may take so much processor time, in milliseconds. */
  begin: (place: Place, limitMs: number) => void;
  /** Nothing is under way. */
  rest: () => void;
  steps: () => number;
  /** Of the step under way. */
  place: () => Place;
  /** 0 while nothing is under way. */
  limitMs: () => number;
};

export const progressBytes = 16;

export function progressOf(shared: SharedArrayBuffer): Progress {
  const cells = new Int32Array(shared);
  return {
    begin({ line, program }, limitMs) {
      Atomics.add(cells, 0, 1);
      Atomics.store(cells, 2, line);
      Atomics.store(cells, 3, program);
      Atomics.store(cells, 1, limitMs);
    },
    rest: () => void Atomics.store(cells, 1, 0),
    steps: () => Atomics.load(cells, 0),
    place: () => ({ line: Atomics.load(cells, 2), program: Atomics.load(cells, 3) }),
    limitMs: () => Atomics.load(cells, 1),
  };
}
