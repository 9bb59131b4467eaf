// Measures how late timers come: the lag of the event loop.

const everyMs = 500;

export function watchLoopLag(): { seconds: () => number; stop: () => void } {
  let expected = performance.now() + everyMs;
  let lagMs = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    lagMs = Math.max(0, now - expected);
    expected = now + everyMs;
  }, everyMs);
  return { seconds: () => lagMs / 1_000, stop: () => clearInterval(timer) };
}
