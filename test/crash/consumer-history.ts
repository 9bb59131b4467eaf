// What consumers saw in a run: each claim and event stream, each delivery, each settlement and its answer.

/** A subscription of the run, or the built-in queue of an ephemeral stream. */
export type SubscriptionDeclared = {
  kind: "subscription";
  subscription: string;
  /** Consumed under /api/streams. */
  isQueue: boolean;
  stream: string;
  mode: "exclusive" | "broadcast" | "consumer-group" | "read-receipt";
  delivery: "at-least-once" | "at-most-once" | "exactly-once";
  types: string[] | null;
  visibilityTimeoutMs: number;
  maxInFlight: number;
  maxAttempts: number;
  consumerTimeoutMs: number;
  onFailure: "pause" | "skip";
};

/** An event as it was handed out. */
export type Delivered = {
  token: string;
  /** Of the event. */
  id: string;
  stream: string;
  offset: number;
  position: number;
  key: string | null;
  /** Of the envelope. */
  hash: string;
  attempt: number;
  /** Milliseconds since the run began, as all times are; null where the event was given away for good. */
  deadline: number | null;
  /** The database's time when it was handed out; when it was received, where that is not known. */
  claimedAt: number;
};

/** One request for events. */
export type Claiming = { kind: "claiming"; op: number; at: number; subscription: string; consumer: string };

export type Claimed = {
  kind: "claimed";
  op: number;
  at: number;
  /** Null: the connection broke. */
  status: number | null;
  /** The problem's code, or what broke. */
  reason: string | null;
  deliveries: Delivered[];
};

/** One event stream of a subscription. */
export type FeedOpened = { kind: "feed-opened"; op: number; at: number; subscription: string; consumer: string };
export type Fed = { kind: "fed"; op: number; at: number; deliveries: Delivered[] };
/** `byClient`: it is noted before the client closes; else when it finds the connection closed. */
export type FeedClosed = { kind: "feed-closed"; op: number; at: number; byClient: boolean };

export type SettlingAction = "ack" | "requeue" | "dead-letter" | "drop" | "extend";

/** One attempt to settle, give back or extend what the tokens name. */
export type Settling = {
  kind: "settling";
  op: number;
  at: number;
  subscription: string;
  action: SettlingAction;
  /** The consumer that the request names, if any. */
  consumer: string | null;
  tokens: string[];
  delayMs: number | null;
  extensionMs: number | null;
  reason: string | null;
};

export type SettlingAnswered = {
  kind: "settling-answered";
  op: number;
  at: number;
  status: number | null;
  /** The problem's code, or what broke. */
  reason: string | null;
  /** One for each token. */
  results: string[];
  /** The new deadline of what was extended. */
  deadline: number | null;
};

/** What a consumer says that it has read. `all`: everything there is; of that the consumer knows what lies up to `knownUpTo`. */
export type WhatIsRead = { positions: number[] } | { upTo: number } | { all: true; knownUpTo: number };

export type Reading = {
  kind: "reading";
  op: number;
  at: number;
  subscription: string;
  consumer: string;
  what: WhatIsRead;
};

export type ReadingAnswered = {
  kind: "reading-answered";
  op: number;
  at: number;
  /** Null: the connection broke. */
  status: number | null;
  /** How many events were unread until then. */
  read: number;
};

/** One page of what a consumer has not read, as it stood at some moment between `invokedAt` and `at`. */
export type UnreadListed = {
  kind: "unread-listed";
  invokedAt: number;
  at: number;
  subscription: string;
  consumer: string;
  /** It shows what lies behind this position, and up to `upTo`; null: up to the end. */
  after: number;
  upTo: number | null;
  positions: number[];
};

/** One attempt to mark an event as processed. */
export type Marking = {
  kind: "marking";
  op: number;
  at: number;
  subscription: string;
  consumer: string;
  position: number;
  token: string;
};

export type MarkingAnswered = {
  kind: "marking-answered";
  op: number;
  at: number;
  status: number | null;
  /** The problem's code, or what broke. */
  reason: string | null;
};

/** A request of an operator: to pause or resume a subscription, to configure it anew as it is, or to remove a consumer. */
export type Operated = {
  kind: "operated";
  action: "pause" | "resume" | "configure" | "remove-consumer";
  invokedAt: number;
  at: number;
  /** Null: the connection broke. */
  status: number | null;
  subscription: string;
  consumer: string | null;
};

export type CursorSampled = {
  subscription: string;
  consumer: string;
  place: number;
  floor: number;
  leased: number;
  waiting: number;
  parked: number;
};

/** The database as it stood at one moment between `invokedAt` and `at`. */
export type LedgerSampled = {
  kind: "sampled";
  invokedAt: number;
  at: number;
  /** When this Postgres was started. */
  startedAt: number;
  cursors: CursorSampled[];
  /** Of each ephemeral stream: the first offset that it has not forgotten. */
  firstOffsets: { stream: string; firstOffset: number }[];
};

export type ConsumerEntry =
  | SubscriptionDeclared
  | Claiming
  | Claimed
  | FeedOpened
  | Fed
  | FeedClosed
  | Settling
  | SettlingAnswered
  | Reading
  | ReadingAnswered
  | UnreadListed
  | Marking
  | MarkingAnswered
  | Operated
  | LedgerSampled;
