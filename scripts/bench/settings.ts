// What the environment says about the length and the size of the measurements.

function number(name: string, fallback: number): number {
  const value = Number(process.env[name] ?? fallback);
  if (!Number.isFinite(value) || value <= 0) throw new Error(`${name} must be a positive number`);
  return value;
}

export const rounds = number("BENCH_ROUNDS", 3);
export const seconds = number("BENCH_SECONDS", 4);
/** The size of the largest log: a multiple of 1,000. */
export const maxEvents = Math.max(10_000, Math.floor(number("BENCH_MAX_EVENTS", 20_000_000) / 1_000) * 1_000);
/** The most event streams that are opened at once. */
export const maxConnections = number("BENCH_MAX_CONNECTIONS", 10_000);
/** How long the older transaction stays open. */
export const holdSeconds = number("BENCH_HOLD_SECONDS", 60);

/** The messages of a queue that is drained. */
export const messages = number("BENCH_MESSAGES", 100_000);
/** The messages that stand in a queue while others are taken. */
export const backlog = Math.min(1_000_000, maxEvents);

/** Streams in the measurements that are about many: with fewer, the peers' appends would wait for one another. */
export const manyStreams = 1_000;
