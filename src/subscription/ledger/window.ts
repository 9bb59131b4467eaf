// What waits for the members of a group, who have equal shares of a window, and whoever has stopped the others with a full one.

/** A member that takes nothing for so long, while its full share stops the others, is set aside. */
const stalledMs = 2_000;

export type Stop = { member: string; at: number | null };

/** `now` in milliseconds, on any scale. */
export function createGroupWindow(size: number, now: () => number = () => performance.now()) {
  let waiting: ReadonlyMap<string, number> = new Map();
  let added = 0;
  let stop: (Stop & { since: number }) | null = null;
  let exhausted = 0;

  return {
    size,
    /** As of the last look. */
    waiting: () => waiting,
    /** Since the last look. */
    added: () => added,
    /** How often somebody's share was found full, and the cursor went no further. */
    exhausted: () => exhausted,
    looked(counts: ReadonlyMap<string, number>): void {
      waiting = counts;
      added = 0;
    },
    add(count: number): void {
      added += count;
    },
    /** Nobody's share stands in the way. */
    passed(): void {
      stop = null;
    },
    /** Somebody's share is full. Returns whether it has taken nothing for too long of what it could take. */
    stopped({ member, at }: Stop): boolean {
      if (stop === null || stop.member !== member) exhausted++;
      if (stop === null || stop.member !== member || stop.at !== at) stop = { member, at, since: now() };
      return at !== null && now() - stop.since >= stalledMs;
    },
  };
}
