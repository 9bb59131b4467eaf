// The schemas of events: as producers write them, as readers get them, and the answers around them.
import { EventInput, EventsInput } from "../../stream/event-input.ts";
import { eventExamples } from "./event-examples.ts";
import { component, type Schema } from "./operation.ts";

/** A 64-bit number as the service writes it. */
export const decimal = (description: string): Schema => ({ type: "string", pattern: "^[0-9]{1,19}$", description });

/** The same, where -1 stands for nothing yet. */
export const cursor = (description: string): Schema => ({ type: "string", pattern: "^(-1|[0-9]{1,19})$", description });

const text = (description: string): Schema => ({ type: "string", description });
const time = (description: string): Schema => ({ type: "string", format: "date-time", description });

const required = ["specversion", "id", "type", "source", "time"];

/**
 * Attributes that are in no list, by their names. Not as `additionalProperties`: generated types would hold every member
 * against those, `data` too.
 */
function attributes(schema: Schema): Schema {
  return {
    propertyNames: { pattern: "^(?:data_base64|[a-z0-9]{1,64})$" },
    patternProperties: { "^(?!data$)[a-z0-9]+$": schema },
    additionalProperties: true,
  };
}

const Event: Schema = {
  type: "object",
  description:
    "An event of the log: the JSON format of CloudEvents 1.0. Offsets, positions and versions are decimal strings, because they have 64 bits. Attributes that the producer added are given back.",
  properties: {
    specversion: { const: "1.0" },
    id: text("Unique with source within the stream"),
    type: text("What happened"),
    source: text("The producer; by default /{service}/streams/{stream}"),
    time: { type: "string", description: "When it happened, as the producer says (RFC 3339); else recordedtime" },
    datacontenttype: text("Media type of the data"),
    dataschema: text(
      "A URI of the schema of the data: the producer's, or where the registry serves that of the type and version",
    ),
    subject: text("What the event is about, within the source"),
    stream: component("schemas", "StreamName"),
    offset: decimal("Place in the stream; the first is 0, and there are no gaps"),
    position: decimal("Place in the log, over all streams"),
    recordedtime: time("When it was recorded; never runs backwards along positions"),
    schemaversion: { type: "string", pattern: "^[1-9][0-9]*$", description: "Version of the type's schema" },
    correlationid: text("Joins the events of one process"),
    causationid: text("Id of the event or command that caused this one"),
    partitionkey: text("Events of one key are handed out in order"),
    traceparent: text("W3C trace context"),
    data: { description: "Any JSON value, as the producer wrote it" },
    data_base64: text("Binary data in Base64, instead of data"),
  },
  required: [...required, "stream", "offset", "position", "recordedtime", "schemaversion"],
  ...attributes({ type: ["string", "boolean", "integer"] }),
  examples: [eventExamples[0]],
};

const Events: Schema = {
  type: "array",
  items: component("schemas", "Event"),
};

const EventPage: Schema = {
  type: "object",
  properties: {
    events: component("schemas", "Events"),
    next: {
      type: ["string", "null"],
      format: "uri-reference",
      description: "Link to the next page; null when the end of the range is reached. A page may be empty and have one",
    },
    head: cursor("Last offset of the stream, or last position of the log; -1 when there is none"),
  },
  required: ["events", "next", "head"],
};

const Appended: Schema = {
  type: "object",
  description: "Where the events stand, in the order of the request.",
  properties: {
    stream: component("schemas", "StreamName"),
    firstOffset: decimal("The lowest offset of the events"),
    lastOffset: decimal("The highest offset of the events, also in the ETag"),
    lastPosition: decimal("The highest position of the events in the log"),
    events: {
      type: "array",
      items: {
        type: "object",
        properties: {
          id: text("The producer's, or the one that the service made"),
          offset: decimal("Place in the stream"),
          duplicate: {
            type: "boolean",
            description: "The stream held this event already; the offset is its original one",
          },
        },
        required: ["id", "offset", "duplicate"],
      },
    },
  },
  required: ["stream", "firstOffset", "lastOffset", "lastPosition", "events"],
};

const StructuredEvent: Schema = {
  description: "An event in the structured mode of CloudEvents: like EventInput, and specversion is required.",
  allOf: [component("schemas", "EventInput"), { required: ["specversion"] }],
};

const maxItems = (EventsInput.anyOf[1] as { maxItems?: number }).maxItems;

/** The schemas of events, by their names in the components. */
export const eventSchemas: Record<string, Schema> = {
  Event,
  Events,
  EventPage,
  EventInput: {
    description: "An event as a producer writes it; only the type is required.",
    ...EventInput,
    ...attributes(EventInput.additionalProperties as Schema),
  },
  EventsInput: {
    description: "One event, or several that are appended all or none.",
    anyOf: [
      component("schemas", "EventInput"),
      { type: "array", minItems: 1, maxItems, items: component("schemas", "EventInput") },
    ],
  },
  StructuredEvent,
  StructuredEvents: { type: "array", minItems: 1, maxItems, items: component("schemas", "StructuredEvent") },
  Appended,
};
