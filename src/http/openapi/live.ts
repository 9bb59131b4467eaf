// The documents of live connections.
import type { ProblemCode } from "../../base/errors.ts";
import type { LiveDescription } from "../live.ts";
import { component, type Operation, problems, type ResponseObject, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const id = "0b9d4c1e-5a0e-4d3c-9a7e-2f1b3c4d5e6f";

const described = (description: string): ResponseObject => {
  const value: LiveDescription = {
    live: id,
    streams: [{ stream: "orders", types: ["OrderPlaced"], key: null, where: null, schema: "stored" }],
    subscriptions: [{ subscription: "billing", consumer: id, ack: "explicit" }],
  };
  return {
    description,
    content: { "application/json": { schema: component("schemas", "LiveConnection"), examples: { live: { value } } } },
  };
};

const refusals = [
  "invalid-parameter",
  "uri-too-long",
  "forbidden",
  ...serviceFailures,
] as const satisfies ProblemCode[];
const changes = [...refusals, "outcome-unknown"] as const satisfies ProblemCode[];

const example = `retry: 2214
id: 1041
event: sluice.ready
data: {"live":"${id}","head":"1041","logId":"5b0d2a52-6c1f-4a3e-9d57-0f2f3a8f9c11"}

event: sluice.caught-up
data: {"stream":"orders","at":"16"}

data: {"specversion":"1.0","id":"019aa5b2-7f00-7000-8000-3f1a2b3c4d5e","type":"OrderPlaced","source":"/sluice/streams/orders","time":"2026-11-21T10:00:00.000Z","datacontenttype":"application/json","stream":"orders","offset":"17","position":"1042","recordedtime":"2026-11-21T10:00:00.004Z","schemaversion":"1","data":{"orderId":"o-1"}}

id: 1042

`;

export const openLive: Operation = {
  operationId: "openLiveConnection",
  summary: "Open a live connection",
  description:
    "One event stream for many streams and subscriptions. The client chooses the UUID, and adds and removes what flows while it is open, on whichever process. What flows is stored: a reconnect to the same URL resumes all of it. `id:` is one position, up to which everything has been sent of all streams that have caught up; history of a stream that was added later comes meanwhile, and may come again after a reconnect. Deliveries of subscriptions bear `deliverysubscription` and `deliverytoken`, and are settled by POST. A second connection of the same id replaces the first. `sluice.caught-up`, `sluice.gap` and `sluice.problem` name the `stream` or the `subscription` that they are about; `sluice.end` with a `subscription` ends that one alone, else it ends the connection, as `removed`, `replaced`, `reset` or `shutting-down`. As application/json, what flows.",
  tags: ["Live connections"],
  parameters: use("LiveId", "LastEventId", "LastEventIdQuery"),
  responses: {
    "200": {
      ...described("The event stream, or what flows on it."),
      content: {
        "text/event-stream": { schema: { type: "string" }, examples: { live: { value: example } } },
        ...described("").content,
      },
    },
    "204": { description: "The reader was told that the connection is over." },
    ...problems(...refusals, "live-connection-not-found", "not-acceptable"),
  },
};

export const removeLive: Operation = {
  operationId: "removeLiveConnection",
  summary: "Remove a live connection",
  description: "Ends its event stream for good, and forgets what flows on it.",
  tags: ["Live connections"],
  parameters: use("LiveId"),
  responses: { "204": { description: "It is gone." }, ...problems(...changes, "live-connection-not-found") },
};

export const putLiveStream: Operation = {
  operationId: "putLiveStream",
  summary: "Let a stream flow",
  description:
    "Adds a stream to a live connection, or begins it anew with other filters. The connection need not be open yet.",
  tags: ["Live connections"],
  parameters: use("LiveId", "StreamName", "From", "Types", "Key", "Where", "SchemaTarget"),
  responses: {
    "200": described("It was there, and is begun anew."),
    "201": described("It flows."),
    ...problems(
      ...changes,
      "invalid-stream-name",
      "invalid-place",
      "invalid-filter",
      "replay-forbidden",
      "cursor-beyond-head",
    ),
  },
};

export const removeLiveStream: Operation = {
  operationId: "removeLiveStream",
  summary: "Let a stream flow no more",
  description: "Removes a stream from a live connection.",
  tags: ["Live connections"],
  parameters: use("LiveId", "StreamName"),
  responses: {
    "204": { description: "It flows no more." },
    ...problems(...changes, "invalid-stream-name", "live-connection-not-found"),
  },
};

export const putLiveSubscription: Operation = {
  operationId: "putLiveSubscription",
  summary: "Consume a subscription on a live connection",
  description:
    "Adds a subscription to a live connection; its consumer is named as the connection is, unless another name is given. Where it cannot begin for a passing reason (too many consumers), `sluice.problem` says so once, and it begins as soon as it can.",
  tags: ["Live connections"],
  parameters: use("LiveId", "SubscriptionName", "LiveConsumer", "Ack"),
  responses: {
    "200": described("It was there."),
    "201": described("It flows."),
    ...problems(...changes, "invalid-subscription-name", "subscription-not-found"),
  },
};

export const removeLiveSubscription: Operation = {
  operationId: "removeLiveSubscription",
  summary: "Consume a subscription no more",
  description: "Removes a subscription from a live connection; what its consumer holds goes to others at once.",
  tags: ["Live connections"],
  parameters: use("LiveId", "SubscriptionName"),
  responses: {
    "204": { description: "It flows no more." },
    ...problems(...changes, "invalid-subscription-name", "live-connection-not-found"),
  },
};

export const catchUpLive: Operation = {
  operationId: "catchUpLiveSubscription",
  summary: "Ask for what was missed",
  description:
    "What the consumer holds and has not settled is handed out anew; no attempt is counted, however often it is asked for. Its old tokens are stale. What it has marked as processed is settled.",
  tags: ["Live connections"],
  parameters: use("LiveId", "SubscriptionName"),
  responses: {
    "202": { description: "It comes." },
    ...problems(
      ...changes,
      "invalid-subscription-name",
      "subscription-not-found",
      "live-connection-not-found",
      "too-many-consumers",
    ),
  },
};
