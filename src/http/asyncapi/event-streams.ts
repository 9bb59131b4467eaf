// The channels of the HTTP service: its event streams, which are Server-Sent Events (WHATWG HTML, section 9.2).
import { readWorkflow } from "../openapi/commands.ts";
import { consumeSubscription } from "../openapi/consume.ts";
import { openLive } from "../openapi/live.ts";
import type { Operation, Parameter, Schema } from "../openapi/operation.ts";
import { type ParameterName, parameters } from "../openapi/parameters.ts";
import { eventStream, readLog, readStream, readWorkflowEvents } from "../openapi/read.ts";
import { schemas } from "../openapi/schemas.ts";
import { consumeFrames, followFrames, liveFrames, type ServiceFrame } from "../openapi/service-frames.ts";
import { frameMessages, messagesOf } from "./messages.ts";
import type { Channel, DescribedOperation, Messages } from "./parts.ts";

type EventStream = {
  key: string;
  title: string;
  address: string;
  /** What each parameter of the address is in the OpenAPI document. */
  variables: Record<string, ParameterName>;
  operation: Operation;
  description: string;
  kind: "follow" | "consume" | "live";
};

const frames: Record<EventStream["kind"], ServiceFrame[]> = {
  follow: followFrames,
  consume: consumeFrames,
  live: liveFrames,
};

const streams: EventStream[] = [
  {
    key: "streamEvents",
    title: "One stream",
    address: "/api/streams/{stream}/events",
    variables: { stream: "StreamName" },
    operation: readStream,
    description: eventStream("the offset"),
    kind: "follow",
  },
  {
    key: "logEvents",
    title: "Several streams",
    address: "/api/events",
    variables: {},
    operation: readLog,
    description: eventStream("the position"),
    kind: "follow",
  },
  {
    key: "workflowEvents",
    title: "A workflow",
    address: "/api/workflows/{id}/events",
    variables: { id: "WorkflowIdPath" },
    operation: readWorkflow(readWorkflowEvents),
    description: eventStream("the position"),
    kind: "follow",
  },
  {
    key: "subscriptionEvents",
    title: "A subscription",
    address: "/api/subscriptions/{id}/events",
    variables: { id: "SubscriptionName" },
    operation: consumeSubscription,
    description: consumeSubscription.description,
    kind: "consume",
  },
  {
    key: "liveConnection",
    title: "A live connection",
    address: "/api/live/{id}",
    variables: { id: "LiveId" },
    operation: openLive,
    description: openLive.description,
    kind: "live",
  },
];

const known: Record<string, Parameter> = parameters;

/** The service's own frames, as messages. */
export const serviceMessages: Messages = Object.assign(
  {},
  ...Object.entries(frames).map(([kind, ofKind]) => frameMessages(kind, ofKind)),
);

/** The channels by their keys; on each of them events travel, which have these names among the messages. */
export function eventStreamChannels(events: readonly string[]): Record<string, Channel> {
  return Object.fromEntries(
    streams.map(({ key, title, address, variables, description, kind }) => {
      const own = Object.keys(frameMessages(kind, frames[kind]));
      const channel: Channel = {
        address,
        title,
        description,
        servers: [{ $ref: "#/servers/http" }],
        messages: messagesOf([...own, ...events]),
        parameters: Object.fromEntries(
          Object.entries(variables).map(([variable, name]) => [variable, addressParameter(known[name] as Parameter)]),
        ),
      };
      return [key, channel];
    }),
  );
}

function addressParameter({ description, schema }: Parameter) {
  const { examples } = resolved(schema) as { examples?: string[] };
  return { description, ...(examples === undefined ? {} : { examples }) };
}

/** A binding's schema is AsyncAPI's own, so that it has no references to other formats. */
function querySchema({ parameters: used = [] }: Operation): Schema {
  const properties: Record<string, Schema> = {};
  for (const parameter of used) {
    const { name, in: place, description, schema } = "$ref" in parameter ? named(parameter.$ref) : parameter;
    // An event stream only goes forward.
    if (place === "query" && name !== "direction") properties[name] = { ...resolved(schema), description };
  }
  return { type: "object", properties };
}

const lastPart = (pointer: string) => pointer.slice(pointer.lastIndexOf("/") + 1);
const named = (pointer: string) => known[lastPart(pointer)] as Parameter;

function resolved(schema: Schema): Schema {
  const whole = typeof schema.$ref === "string" ? (schemas[lastPart(schema.$ref)] as Schema) : schema;
  const { items } = whole as { items?: Schema };
  return items === undefined ? whole : { ...whole, items: resolved(items) };
}

/** What the service does on these channels: it sends. */
export const eventStreamOperations: Record<string, DescribedOperation> = Object.fromEntries(
  streams.map(({ key, title, operation }) => [
    `send.${key}`,
    {
      action: "send",
      channel: { $ref: `#/channels/${key}` },
      title,
      summary: "Events and the service's own frames, with `Accept: text/event-stream`",
      bindings: { http: { method: "GET", query: querySchema(operation), bindingVersion: "0.3.0" } },
    },
  ]),
);
