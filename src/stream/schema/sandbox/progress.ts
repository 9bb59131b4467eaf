// How far a sandbox has come, as its watchdog sees it from another thread.

export type Progress = {
  /** A step of a line of the call under way is begun, which may take so much processor time, in milliseconds. */
  begin: (line: number, limitMs: number) => void;
  /** Nothing is under way. */
  rest: () => void;
  steps: () => number;
  line: () => number;
  /** 0 while nothing is under way. */
  limitMs: () => number;
};

export const progressBytes = 12;

export function progressOf(shared: SharedArrayBuffer): Progress {
  const cells = new Int32Array(shared);
  return {
    begin(line, limitMs) {
      Atomics.add(cells, 0, 1);
      Atomics.store(cells, 2, line);
      Atomics.store(cells, 1, limitMs);
    },
    rest: () => void Atomics.store(cells, 1, 0),
    steps: () => Atomics.load(cells, 0),
    line: () => Atomics.load(cells, 2),
    limitMs: () => Atomics.load(cells, 1),
  };
}
