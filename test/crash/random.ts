// A seeded source of decisions: the same seed and label give the same sequence.

export type Random = {
  /** From 0 inclusive to 1 exclusive. */
  next: () => number;
  /** A whole number in [min, max]. */
  between: (min: number, max: number) => number;
  chance: (probability: number) => boolean;
  pick: <T>(choices: readonly T[]) => T;
  /** A source of its own, so that one part's decisions do not depend on how often another one asks. */
  fork: (label: string) => Random;
};

/** mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    next,
    between: (min, max) => min + Math.floor(next() * (max - min + 1)),
    chance: (probability) => next() < probability,
    pick: (choices) => choices[Math.floor(next() * choices.length)] as (typeof choices)[number],
    fork: (label) => createRandom(Bun.hash.crc32(`${seed} ${label}`)),
  };
}
