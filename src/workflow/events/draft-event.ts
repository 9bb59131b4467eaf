// An event that code emits, before it is appended.
import type { TSchema } from "@sinclair/typebox";

/** Attributes that whoever emits an event may give it (CloudEvents 1.0, section 3); the service knows the others. */
export type EventAttributes = {
  /** Unique in its stream: a second event of this id is not stored again. Default: a UUID. */
  id?: string;
  /** What the event is about, such as the id of a user. */
  subject?: string;
  /** Events of one key are handed out in order. */
  partitionKey?: string;
  /** When it happened, if that was not now: RFC 3339. */
  time?: string;
  /** Further attributes of CloudEvents: names of lower-case letters and digits. */
  extensions?: Readonly<Record<string, string | number | boolean>>;
};

/** An event that is to be appended. Made by `event` of its type. */
export type DraftEvent<Name extends string = string, Data = unknown> = {
  readonly type: Name;
  /** The version of its type. */
  readonly version: number;
  /** Of this version. */
  readonly schema: TSchema;
  readonly data: Data;
  readonly attributes: EventAttributes;
};
