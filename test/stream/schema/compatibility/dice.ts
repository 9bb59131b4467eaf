// Random choices that are repeated by their seed.

/** A source of random choices that is repeated by its seed. */
export type Dice = {
  below(limit: number): number;
  /** True once in `n` times. */
  once(n: number): boolean;
  of<T>(choices: readonly T[]): T;
  some<T>(choices: readonly T[]): T[];
};

export function createDice(seed: number): Dice {
  let state = seed >>> 0;
  // Mulberry32.
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    once: (n) => below(n) === 0,
    of: (choices) => choices[below(choices.length)] as (typeof choices)[number],
    some: (choices) => choices.filter(() => below(2) === 0),
  };
}

/** Dice that more often say yes. */
export function eager(dice: Dice): Dice {
  return { ...dice, once: (n) => dice.once(Math.max(2, Math.ceil(n / 4))) };
}

/** Some of them, at least one. */
export function subset<T>(dice: Dice, all: readonly T[]): T[] {
  const some = dice.some(all);
  return some.length > 0 ? some : [dice.of(all)];
}
