// The time limit of handlers: what it ends, and what it leaves behind.
import { expect, test } from "bun:test";
import { TimeLimitExceeded, withTimeLimit } from "../../../src/workflow/handlers/time-limit.ts";

/** A signal that counts who listens to it. */
function counted() {
  const abort = new AbortController();
  const { signal } = abort;
  let listening = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listening++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listening--;
    remove(...args);
  };
  return { abort, signal, listening: () => listening };
}

test("what never ends is given up, is told so, and stays with nobody's signal", async () => {
  const { signal, listening } = counted();
  let own: AbortSignal | null = null;
  const limited = withTimeLimit(
    5,
    (handed) => {
      own = handed;
      return new Promise<never>(() => {});
    },
    signal,
  );
  expect(listening()).toBe(1);
  expect(await limited.catch((error: unknown) => error)).toBeInstanceOf(TimeLimitExceeded);
  expect(listening()).toBe(0);
  expect((own as unknown as AbortSignal).aborted).toBe(true);
});

test("a signal that fires ends it with its reason, before it began too", async () => {
  const { abort, signal, listening } = counted();
  const limited = withTimeLimit(60_000, () => new Promise<never>(() => {}), signal);
  abort.abort("enough");
  expect(await limited.catch((error: unknown) => error)).toBe("enough");
  expect(listening()).toBe(0);
  expect(await withTimeLimit(60_000, () => 1, signal).catch((error: unknown) => error)).toBe("enough");
});

test("what ends in time is passed on, a throw as a rejection", async () => {
  const { signal, listening } = counted();
  expect(await withTimeLimit(60_000, () => 7, signal)).toBe(7);
  const thrown = withTimeLimit(
    60_000,
    () => {
      throw new Error("no");
    },
    signal,
  );
  expect(await thrown.catch((error: Error) => error.message)).toBe("no");
  expect(listening()).toBe(0);
});
