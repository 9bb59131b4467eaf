// Two versions of one of the run's event types, and what makes an event that came as the newer one comparable with what was stored.
import type { SchemaLinks } from "../../src/stream/event.ts";

/** All services of a run have it, or their events would differ by where they listen. */
export const publicUrl = "http://sluice.test";

const type = "Opened";
const pathOf = (version: number) => `/api/schemas/${type}/versions/${version}`;

/** The requests that register them, in order; a repetition changes nothing. */
export const registrations = [
  { path: pathOf(1), body: { schema: {} } },
  {
    path: pathOf(2),
    body: {
      schema: { required: ["seen"] },
      upcast: { language: "jsonata", expression: '$merge([$, {"seen": true}])' },
    },
  },
];

/** As which versions subscriptions receive events. */
export const targets = ["stored", "latest", `${type}@2`] as const;

export const runSchemas: SchemaLinks = {
  revision: () => 0,
  linkOf: (of, version) => (of === type ? JSON.stringify(publicUrl + pathOf(version)) : null),
};

type Versioned = { schemaversion?: string; upcasterror?: string; data?: unknown };

/**
 * What was stored of an event that was upcast as it must be, or was given away while nothing could upcast it, and says so; any
 * other is left as it is.
 */
export function asStoredEvent(event: Versioned): Versioned {
  const { upcasterror, ...stored } = event;
  if (upcasterror?.startsWith("The process that evaluates")) return stored;
  const { seen, ...data } = (event.data ?? {}) as Record<string, unknown>;
  if (event.schemaversion !== "2" || seen !== true) return event;
  return { ...event, schemaversion: "1", dataschema: publicUrl + pathOf(1), data } as Versioned;
}
