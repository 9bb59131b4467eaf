// How far a sandbox has come, as its watchdog sees it from another thread.

export type Progress = {
  /** A step is begun that may take this long, in milliseconds. */
  begin: (limitMs: number) => void;
  /** Nothing is under way. */
  rest: () => void;
  steps: () => number;
  /** 0 while nothing is under way. */
  limitMs: () => number;
};

export const progressBytes = 8;

export function progressOf(shared: SharedArrayBuffer): Progress {
  const cells = new Int32Array(shared);
  return {
    begin(limitMs) {
      Atomics.add(cells, 0, 1);
      Atomics.store(cells, 1, limitMs);
    },
    rest: () => void Atomics.store(cells, 1, 0),
    steps: () => Atomics.load(cells, 0),
    limitMs: () => Atomics.load(cells, 1),
  };
}
