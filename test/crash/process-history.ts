// What clients of commands, sagas, read models and the outbox saw in a run.

type Outcome = "acknowledged" | "refused" | "unknown";

/** One attempt to run a command. Attempts of one request share its mark, which is its key too. */
export type CommandInvoked = {
  kind: "command-invoked";
  op: number;
  at: number;
  mark: string;
  command: string;
  /** How many events it comes to, if it is not refused. */
  of: number;
  /** It is to be refused, whenever it is asked. */
  isRefused: boolean;
  /** The stream that it is decided on; null for one that no state decides on. */
  decidedOn: string | null;
};

export type CommandAnswered = {
  kind: "command-answered";
  op: number;
  at: number;
  outcome: Outcome;
  status: number | null;
  /** The problem's code, or what broke. */
  reason: string | null;
  /** The whole answer, to compare with that of a repetition. */
  answer: string | null;
  events: { stream: string; offset: number; id: string }[];
  nonce: string | null;
  /** The balance on which it was refused. */
  balance: number | null;
};

/** One attempt to start a saga; the mark is its key. */
export type SagaStarting = { kind: "saga-starting"; op: number; at: number; mark: string; saga: string; plan: Plan };

/** What is to become of a saga: which step fails and how, whose compensation fails. */
export type Plan = {
  fails: "none" | "hold" | "pack" | "ship";
  how: "once" | "throws" | "rejects";
  staysUndone: "none" | "hold" | "pack";
};

export type SagaStarted = {
  kind: "saga-started";
  op: number;
  at: number;
  outcome: Outcome;
  status: number | null;
  reason: string | null;
  sagaId: string | null;
};

/** Something that people do with a saga was asked for and done. */
export type SagaManaged = { kind: "saga-managed"; at: number; sagaId: string; what: "cancel" | "pause" | "resume" };

/** A row of the outbox. A doomed one cannot become an event. */
export type WrittenRow = { mark: string; stream: string; isDoomed: boolean };

/** A transaction of somebody who shares the database. */
export type OutboxWriting = { kind: "outbox-writing"; tx: number; at: number; writer: string; rows: WrittenRow[] };

export type OutboxWritten = {
  kind: "outbox-written";
  tx: number;
  at: number;
  outcome: "committed" | "rolled-back" | "unknown";
};

/** An answer of a read model: by key how many events, and their checksum. */
export type ModelRead = {
  kind: "model-read";
  invokedAt: number;
  at: number;
  projection: string;
  position: number;
  rows: { key: string; events: number; checksum: number }[];
};

export type ProcessEntry =
  | CommandInvoked
  | CommandAnswered
  | SagaStarting
  | SagaStarted
  | SagaManaged
  | OutboxWriting
  | OutboxWritten
  | ModelRead;
