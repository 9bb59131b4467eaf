// What an AsyncAPI document consists of (AsyncAPI 3.0), as far as this one does.
import type { Schema } from "../openapi/operation.ts";

export type Reference = { $ref: string };

export type Server = {
  host: string;
  pathname?: string;
  protocol: string;
  protocolVersion?: string;
  title: string;
  description?: string;
};

/** A schema of another format than the document's own. */
export type MultiFormatSchema = { schemaFormat: string; schema: unknown };

export type Message = {
  name: string;
  title: string;
  description?: string;
  contentType?: string;
  headers?: MultiFormatSchema;
  payload: MultiFormatSchema | Reference;
};

/** Messages by their names in the components, which they have in channels too. */
export type Messages = Record<string, Message>;

type NatsBinding = { nats: { bindingVersion: string } };

/** All that there is to say by AsyncAPI's binding for NATS. */
export const natsBindings: NatsBinding = { nats: { bindingVersion: "0.1.0" } };

export const typeDescription =
  "The type of the event, with `_` for each character that NATS refuses: white space, control characters, and `. * > / \\`";

export type Channel = {
  /** Null where it is not one address. */
  address: string | null;
  title: string;
  description: string;
  servers: Reference[];
  messages: Record<string, Reference>;
  parameters: Record<string, { description: string; examples?: string[] }>;
  bindings?: NatsBinding;
  "x-jetstream"?: { stream: string; subjects: string[] };
};

export type DescribedOperation = {
  action: "send" | "receive";
  channel: Reference;
  title: string;
  summary: string;
  bindings: { http: { method: string; query: Schema; bindingVersion: string } } | NatsBinding;
};
