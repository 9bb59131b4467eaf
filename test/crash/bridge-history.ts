// What happened around NATS in a run: what strangers published, what was emptied, and when NATS was away.

/**
 * What a stranger publishes: CloudEvents in both modes, plain JSON, and what can never become an event. A thief's has, as the message's
 * id, that of an event which is about to be published.
 */
export type StrangerForm = "binary" | "structured" | "plain" | "poison" | "thief";

/** A message of somebody else on a subject of a cross-service stream; published again until JetStream has confirmed it. */
export type StrangerPublished = {
  kind: "stranger-published";
  at: number;
  stream: string;
  /** Its id, and the text in its payload that no other message has. */
  mark: string;
  form: StrangerForm;
  /** How often it was sent. */
  attempts: number;
  isConfirmed: boolean;
};

/** What JetStream holds was taken away from here on: of one of its streams, or null for all. */
export type Emptied = { kind: "emptied"; at: number; jetstream: string | null };

/** NATS answers nobody from here on, or may again. */
export type NatsAway = { kind: "nats-away"; at: number; isAway: boolean };

/** The process that publishes was killed. */
export type KilledPublisher = {
  kind: "killed-publisher";
  at: number;
  /** Messages of its that were not confirmed shortly before. */
  underWay: number;
  /** Events that JetStream has and the noted cursors do not know of; null where nobody could be asked. */
  ahead: number | null;
};

/** All dead letters of a mirror were put back, to be tried again. */
export type PutBack = { kind: "put-back"; at: number; mirror: string };

export type BridgeEntry = StrangerPublished | Emptied | NatsAway | KilledPublisher | PutBack;
