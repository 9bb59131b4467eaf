// The document with the event types that are registered: a component for the data of each version, and one for its events.
import type { SchemaComponent } from "../../stream/schema/components.ts";
import { type Document, printDocument } from "./document.ts";
import { component, type Schema } from "./operation.ts";

/** The text of the document with these among its components. */
export function withRegisteredEvents(document: Document, registered: readonly SchemaComponent[]): string {
  const schemas: Record<string, Schema> = {};
  for (const { name, type, version, description, schema } of registered) {
    schemas[name] = schema as Schema;
    schemas[`${name}.event`] = {
      description: description ?? `${type} as version ${version}`,
      allOf: [
        component("schemas", "Event"),
        {
          type: "object",
          properties: {
            type: { const: type },
            schemaversion: { const: String(version) },
            data: component("schemas", name),
          },
          required: ["data"],
        },
      ],
    };
  }
  const components = document.components as Record<string, Record<string, unknown>>;
  return printDocument({
    ...document,
    // The service's own names come last: an event type must not take one.
    components: { ...components, schemas: { ...schemas, ...components.schemas } },
  });
}
