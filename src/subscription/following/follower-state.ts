// The life of a follower, as a table.
//
//   catching-up ──caught-up──▶ live ──fell-behind──▶ behind ──caught-up──▶ live
//        └──────────────────── stopped, from any state ──────────────────▶ ended

export type FollowerState = "catching-up" | "live" | "behind" | "ended";
export type FollowerEvent = "caught-up" | "fell-behind" | "stopped";

const table: Record<FollowerState, Partial<Record<FollowerEvent, FollowerState>>> = {
  "catching-up": { "caught-up": "live", stopped: "ended" },
  live: { "fell-behind": "behind", stopped: "ended" },
  behind: { "caught-up": "live", stopped: "ended" },
  ended: {},
};

/** The state after an event. Throws on an event that the state does not know: that is a defect. */
export function next(state: FollowerState, event: FollowerEvent): FollowerState {
  const following = table[state][event];
  if (following === undefined) throw new Error(`a follower that is ${state} cannot be ${event}`);
  return following;
}
