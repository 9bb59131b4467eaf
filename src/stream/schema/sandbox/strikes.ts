// Counts how often a program has been too expensive: one that is so again and again is left alone for a while.

export type Strikes = {
  strike: (key: string) => void;
  isOut: (key: string) => boolean;
};

const allowed = 3;
const windowMs = 60_000;

export function createStrikes(): Strikes {
  const struck = new Map<string, { count: number; until: number }>();

  return {
    strike(key) {
      const before = struck.get(key);
      const now = performance.now();
      const count = before === undefined || before.until < now ? 1 : before.count + 1;
      struck.set(key, { count, until: now + windowMs });
    },
    isOut(key) {
      const found = struck.get(key);
      if (found === undefined) return false;
      if (found.until < performance.now()) {
        struck.delete(key);
        return false;
      }
      return found.count >= allowed;
    },
  };
}
