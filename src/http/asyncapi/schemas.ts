// The schemas of the AsyncAPI document: JSON Schema 2020-12, which stands in the document as another format than its own.
import type { SchemaComponent } from "../../stream/schema/components.ts";
import type { Schema } from "../openapi/operation.ts";
import { componentPointer, registeredSchemas } from "../openapi/registered-events.ts";
import { schemas } from "../openapi/schemas.ts";
import type { MultiFormatSchema } from "./parts.ts";

/**
 * AsyncAPI's own schemas are a superset of draft 7, in which `prefixItems`, `$defs`, or what stands beside `$ref` mean
 * nothing. So each schema says what it is (AsyncAPI 3.0, Multi Format Schema Object).
 */
const schemaFormat = "application/schema+json;version=2020-12";

export const multiFormat = (schema: unknown): MultiFormatSchema => ({ schemaFormat, schema });

/** Where the schema of a component stands: one step below the component. */
export const schemaPointer = (name: string) => `#/components/schemas/${name}/schema`;

/** What a subscription adds to the events that it hands out. */
const delivery: Record<string, Schema> = {
  deliverytoken: { type: "string", description: "Of a subscription: what settles the event" },
  deliveryattempt: { type: "integer", minimum: 1, description: "Of a subscription: how often it was handed out" },
  deliverydeadline: { type: "string", format: "date-time", description: "Of a subscription: when its token expires" },
  deliverysubscription: { type: "string", description: "On a live connection: which subscription hands it out" },
};

const upcasterror: Schema = {
  type: "string",
  description: "Why it is given as it is stored, where another was asked for",
};

const { properties } = schemas.Event as { properties: Record<string, Schema> };
const logid: Schema = { type: "string", description: "In NATS: the history of the log, in which offsets count" };

const Event: Schema = { ...schemas.Event, properties: { ...properties, ...delivery, upcasterror, logid } };

const { StreamName, Problem, Violation } = schemas;

/** A schema of the OpenAPI document as it stands in this one. */
export function inThisDocument(schema: Schema): unknown {
  return JSON.parse(JSON.stringify(schema), (key, value: unknown) =>
    key === "$ref" && typeof value === "string" ? schemaPointer(value.slice(componentPointer("").length)) : value,
  );
}

/** The service's own schemas, with their references as they lead in this document. */
const own = inThisDocument({ Event, StreamName, Problem, Violation }) as Record<string, unknown>;

/** The components of these versions, and the service's own. */
export function schemaComponents(registered: readonly SchemaComponent[]): Record<string, MultiFormatSchema> {
  const components: Record<string, MultiFormatSchema> = {};
  for (const [name, schema] of Object.entries(registeredSchemas(registered, schemaPointer)))
    components[name] = multiFormat(schema);
  for (const [name, schema] of Object.entries(own)) components[name] = multiFormat(schema);
  return components;
}

const { data, data_base64, position, ...travelling } = properties;
/** The attributes of an event that is published in binary mode, and what they are. */
export const attributes = inThisDocument({ ...travelling, logid }) as Record<string, unknown>;
