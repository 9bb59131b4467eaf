// JetStream as the bridge sees it: what can be asked of it, and how it refuses. The package behind it stands in nats.ts alone.
import type { Log } from "../../base/log.ts";

export type NatsOptions = {
  /** `nats://host:port` and `tls://host:port`. */
  servers: readonly string[];
  /** Shown by the server's monitoring. */
  name: string;
  credentials: NatsCredentials | null;
  /** Null: as the servers' URLs say. Paths of PEM files. */
  tls: { caFile: string | null; certFile: string | null; keyFile: string | null } | null;
  /** What the subjects of answers begin with, so that an account can be narrowed to it. */
  inboxPrefix: string;
  /** How long an answer of JetStream is waited for, in milliseconds. */
  timeoutMs: number;
  /** How often the server is asked whether it is still there, in milliseconds; 10 s unless given. */
  pingIntervalMs?: number;
  log: Log;
};

export type NatsCredentials =
  | { kind: "password"; user: string; password: string }
  | { kind: "token"; token: string }
  /** The content of a file of credentials. */
  | { kind: "creds"; content: Uint8Array };

export type NatsState = "connecting" | "connected" | "disconnected" | "closed";

/** A header of a message stands once; names are told apart by case, as the server does. */
export type Headers = readonly (readonly [name: string, value: string])[];

/** What JetStream answers to a publish. */
export type Confirmation =
  | { sequence: number; duplicate: boolean }
  /** `code`: JetStream's `err_code`, or 0 where no stream listens on the subject. */
  | { code: number; message: string };

export const noStream = 0;
/** Codes of JetStream's errors (nats-server, errors.json). */
export const wrongLastSequence = 10071;
export const wrongLastId = 10070;
export const streamNotFound = 10059;
export const consumerNotFound = 10014;
export const messageNotFound = 10037;
export const subjectsOverlap = 10065;
/** The servers of a stream have no leader. */
export const noLeader = 10008;
/** A message is larger than its stream allows. */
export const messageTooLarge = 10054;
/** None of JetStream's: the server refuses what the account is not allowed to. */
export const notPermitted = -2;

/** Publishes to one connection; confirmations come in any order, and not at all when the connection breaks. */
export type Publisher = {
  /** Hands a message to the connection under a number of the caller's. Throws `NatsUnavailable` and `MessageTooLarge`. */
  publish: (number: number, subject: string, headers: Headers, data: Uint8Array) => void;
  close: () => void;
};

export type PublishHandlers = {
  onConfirmed: (number: number, confirmation: Confirmation) => void;
  /** Nothing is stored of what anybody publishes on the subject, and no answer comes; null: no answer comes to this publisher. */
  onRefused: (subject: string | null, reason: string) => void;
};

export type NatsStream = {
  name: string;
  subjects: readonly string[];
  /** When it was made, RFC 3339 with nanoseconds: another time is another stream. */
  created: string;
  messages: number;
  firstSequence: number;
  lastSequence: number;
  /** What JetStream forgets: by `limits` alone, or also what consumers have acknowledged. */
  retention: string;
  config: StreamSettings;
};

export type StreamSettings = {
  maxAgeMs: number;
  maxBytes: number;
  maxMessages: number;
  replicas: number;
  storage: "file" | "memory";
  duplicateWindowMs: number;
  description: string;
};

export type StoredMessage = {
  sequence: number;
  subject: string;
  /** In milliseconds since 1970. */
  storedMs: number;
  headers: ReadonlyMap<string, string>;
};

export type NatsConsumer = {
  name: string;
  /** Delivered and not acknowledged yet. */
  unacknowledged: number;
  /** Not delivered yet. */
  pending: number;
  redelivered: number;
};

/** All messages up to one that is acknowledged are. */
export type ConsumerSettings = {
  stream: string;
  name: string;
  subject: string | null;
  /** The sequence to begin with. */
  startSequence: number;
  ackWaitMs: number;
  maxUnacknowledged: number;
};

export type ReceivedMessage = {
  subject: string;
  sequence: number;
  /** Counts what the consumer has delivered, from 1, repetitions too: a gap is a message that was lost on its way. */
  delivery: number;
  /** 1 when it comes for the first time. */
  attempt: number;
  /** When the server stored it, in milliseconds since 1970. */
  storedMs: number;
  /** Messages of the consumer that were not delivered yet. */
  pending: number;
  /** Throws where they cannot be read. */
  headers: Headers;
  data: Uint8Array;
  /** Of headers and data. */
  bytes: number;
  /** What to acknowledge it by. */
  receipt: string;
};

/** What the server says of a pull: a code as HTTP has them. */
export type PullStatus = {
  code: number;
  description: string;
  /** Messages of the pull that do not come any more. */
  unserved: number;
};

/** Code of a status that JetStream does not know: the account may not do what a pull needs. */
export const forbidden = 403;

export type PullRequest = { messages: number; bytes: number; expiresMs: number; heartbeatMs: number };

/** Has messages of a consumer sent, so many at a time as are asked for. */
export type Puller = {
  pull: (request: PullRequest) => void;
  /** All up to this one are done with. */
  acknowledge: (receipt: string) => void;
  close: () => void;
};

export type PullHandlers = {
  onMessage: (message: ReceivedMessage) => void;
  onStatus: (status: PullStatus) => void;
};

/** What JetStream refused; `code` is its `err_code`, 0 where nothing answers (no JetStream), or `notPermitted`. */
export class JetStreamError extends Error {
  readonly code: number;

  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The server takes no message of this size. */
export class MessageTooLarge extends Error {}

/** There is no connection, or no answer came. */
export class NatsUnavailable extends Error {}

export type Nats = {
  state: () => NatsState;
  /** Why it is not connected; null when it is, or nothing was tried yet. */
  lastError: () => string | null;
  /** Of the connection that stands: what the server says of itself. */
  server: () => { version: string; name: string; maxPayloadBytes: number } | null;
  /** Times it was connected since the start. */
  connects: () => number;
  /** Called at each change of state. */
  onState: (listener: (state: NatsState) => void) => () => void;
  /** Throws `NatsUnavailable` without a connection. */
  openPublisher: (handlers: PublishHandlers) => Publisher;
  /** What follows rejects with `JetStreamError` and `NatsUnavailable`. Null where there is none. */
  findStream: (name: string) => Promise<NatsStream | null>;
  createStream: (name: string, subjects: readonly string[], settings: StreamSettings) => Promise<NatsStream>;
  updateStream: (name: string, subjects: readonly string[], settings: StreamSettings) => Promise<NatsStream>;
  /** The names of the streams that have the subject. */
  streamsOfSubject: (subject: string) => Promise<string[]>;
  message: (stream: string, sequence: number) => Promise<StoredMessage | null>;
  findConsumer: (stream: string, name: string) => Promise<NatsConsumer | null>;
  createConsumer: (settings: ConsumerSettings) => Promise<NatsConsumer>;
  deleteConsumer: (stream: string, name: string) => Promise<void>;
  /** Throws `NatsUnavailable` without a connection. */
  openPuller: (stream: string, consumer: string, handlers: PullHandlers) => Puller;
  stop: () => Promise<void>;
};
