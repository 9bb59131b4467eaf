// Counts what the functions of the ledger do by the way, which they tell by notices to the process that called them.

export type Tally = {
  onNotice: (code: string, detail: string) => void;
  counters: () => TallyCounters;
};

export type TallyCounters = {
  /** Events whose time was over before they were settled. */
  expired: number;
  /** Events that became dead letters. */
  dead: number;
  /** Members that left with their last connection. */
  left: number;
};

/** A notice is not taken back with its transaction: one that fails and is tried again is counted twice. */
export function createTally(): Tally {
  const counters: TallyCounters = { expired: 0, dead: 0, left: 0 };
  const counted: Record<string, keyof TallyCounters> = { SL001: "expired", SL002: "dead", SL003: "left" };
  return {
    onNotice(code, detail) {
      const of = counted[code];
      if (of !== undefined) counters[of] += Number(detail);
    },
    counters: () => counters,
  };
}
