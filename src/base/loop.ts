// Repeats a background duty: at an interval, at once when woken, never twice at the same time.
import type { Log } from "./log.ts";

export type Loop = {
  /** Runs the duty now, or once more when it is running. */
  wake: () => void;
  /** Waits for the run under way; nothing runs afterwards. */
  stop: () => Promise<void>;
};

export function startLoop(name: string, everyMs: number, duty: (signal: AbortSignal) => Promise<void>, log: Log): Loop {
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | null = null;
  let running: Promise<void> | null = null;
  let again = false;

  async function run(): Promise<void> {
    do {
      again = false;
      try {
        await duty(abort.signal);
      } catch (error) {
        // A duty comes round again; its failure is worth a line, not a crash.
        if (!abort.signal.aborted) log.warn({ err: error, duty: name }, "background duty failed");
      }
    } while (again && !abort.signal.aborted);
  }

  function start(): void {
    if (timer) clearTimeout(timer);
    timer = null;
    running = run().then(() => {
      running = null;
      if (!abort.signal.aborted) timer = setTimeout(start, everyMs);
    });
  }

  start();
  return {
    wake() {
      if (abort.signal.aborted) return;
      if (running) again = true;
      else start();
    },
    async stop() {
      abort.abort();
      if (timer) clearTimeout(timer);
      await running;
    },
  };
}
