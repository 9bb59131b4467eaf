// The streams of a run of the bridge: what the first service publishes, and what the second one mirrors of it.

export type BridgedStream = {
  /** Of the publishing service, and of the mirroring one. */
  stream: string;
  mirror: string;
  jetstream: string;
  mode: "binary" | "structured";
  /** How many messages JetStream keeps; null for all. */
  maxEvents: number | null;
  /** What the mirror is put with. */
  source: Record<string, string>;
  /** Somebody else publishes there too. */
  hasStrangers: boolean;
  /** The mirror enforces a schema, which some events do not match. */
  isStrict: boolean;
};

export const publishing = "svca";
export const mirroring = "svcb";
export const mirrorDatabase = "mirror";

/** The server takes no larger message. */
export const maxPayloadBytes = 300_000;
/** A pad that makes an event larger than that. */
export const oversizedBytes = 310_000;

/** Of a strict stream: an event with a greater `n` never matches. */
export const greatestN = 989;
export const checkedType = "Checked";
/** Also of a strict stream: it has no schema until late in the run, so that its events are tried again. */
export const lateType = "Late";
export const strictSchema = {
  type: "object",
  properties: { n: { type: "integer", maximum: greatestN } },
  required: ["n"],
};
export const tries = 3;
export const backoff = { initial: "50ms", factor: 2, max: "300ms" };

const base = { mode: "binary", maxEvents: null, hasStrangers: false, isStrict: false } as const;

export const bridgedStreams: readonly BridgedStream[] = [
  {
    ...base,
    ...{ stream: "orders", mirror: "orders", jetstream: "svca_orders", hasStrangers: true },
    source: { service: publishing, stream: "orders" },
  },
  {
    ...base,
    ...{ stream: "users.v1", mirror: "people", jetstream: "svca_users_v1", mode: "structured", hasStrangers: true },
    source: { subject: "svca.users_v1.>" },
  },
  {
    ...base,
    ...{ stream: "checked", mirror: "checked-copy", jetstream: "svca_checked", isStrict: true },
    source: { jetstream: "svca_checked" },
  },
  {
    ...base,
    ...{ stream: "recent", mirror: "recent", jetstream: "svca_recent", maxEvents: 2_000 },
    source: { service: publishing, stream: "recent" },
  },
];

/** Odd ones: each has to come through headers, subjects and envelopes as it is. */
export const oddTypes = [
  "Opened",
  "Order Placed",
  "order.placed",
  "größer>*",
  '50 % "off"\\',
  "a/b:c",
  "日本",
] as const;
