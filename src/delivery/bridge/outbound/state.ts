// The states of publishing one stream, and what leads from one to the next. Pure.

/**
 *   waiting ──connected──▶ aligning ──aligned──▶ publishing
 *                            ▲  │ ▲                │    │
 *                            │  │ └──misaligned────┘    │ refused, silent, stuck
 *                    elapsed │  └─refused, silent─▶ pausing ◀─┘
 *                            └──────────────────────┘
 *   Without a connection, every state becomes waiting.
 */
export type PublishingState = "waiting" | "aligning" | "publishing" | "pausing";

export type PublishingEvent =
  | "connected"
  | "disconnected"
  /** It is known what JetStream has of the stream, and that it can take more. */
  | "aligned"
  /** JetStream has taken something. */
  | "confirmed"
  /** JetStream has more or less than was thought; some was confirmed before that showed, or nothing was published. */
  | "misaligned"
  /** The same, and nothing was confirmed. */
  | "stuck"
  /** JetStream does not take it, or its stream is not as it must be. */
  | "refused"
  /** No answer came. */
  | "silent"
  | "elapsed";

const table: Record<PublishingState, Partial<Record<PublishingEvent, PublishingState>>> = {
  waiting: { connected: "aligning" },
  aligning: { aligned: "publishing", refused: "pausing", silent: "pausing" },
  publishing: { misaligned: "aligning", stuck: "pausing", refused: "pausing", silent: "pausing" },
  pausing: { elapsed: "aligning" },
};

/** Where an event leads; what says nothing in a state leaves it as it is. */
export function nextState(state: PublishingState, event: PublishingEvent): PublishingState {
  if (event === "disconnected") return "waiting";
  return table[state][event] ?? state;
}
