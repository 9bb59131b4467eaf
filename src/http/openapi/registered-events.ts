// The document with the event types that are registered: a component for the data of each version, and one for its events.
import type { SchemaComponent } from "../../stream/schema/components.ts";
import { type Document, printDocument } from "./document.ts";
import type { Schema } from "./operation.ts";

/** Where the schema of a component stands in the OpenAPI document. */
export const componentPointer = (name: string) => `#/components/schemas/${name}`;

/**
 * The schemas by the names of their components; that of the events of a version has `.event` behind its name. `pointer`
 * says where in the document the schema of a component stands.
 */
export function registeredSchemas(
  registered: readonly SchemaComponent[],
  pointer: (name: string) => string,
): Record<string, Schema> {
  const schemas: Record<string, Schema> = {};
  for (const { name, type, version, description, schema } of registered) {
    schemas[name] = schema as Schema;
    schemas[`${name}.event`] = {
      description: description ?? `${type} as version ${version}`,
      allOf: [
        { $ref: pointer("Event") },
        {
          type: "object",
          properties: {
            type: { const: type },
            schemaversion: { const: String(version) },
            data: { $ref: pointer(name) },
          },
          required: ["data"],
        },
      ],
    };
  }
  return schemas;
}

/** The text of the document with these among its components. */
export function withRegisteredEvents(document: Document, registered: readonly SchemaComponent[]): string {
  const components = document.components as Record<string, Record<string, unknown>>;
  return printDocument({
    ...document,
    // The service's own names come last: an event type must not take one.
    components: {
      ...components,
      schemas: { ...registeredSchemas(registered, componentPointer), ...components.schemas },
    },
  });
}
