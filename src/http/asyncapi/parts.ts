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

export type Channel = {
  address: string;
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
