// The documents of reading: one stream, several streams, one event.
import { endedStreamExample, eventExamples, eventStreamExample, ndjsonExample } from "./event-examples.ts";
import {
  component,
  type Example,
  type MediaType,
  type Operation,
  problems,
  type ResponseObject,
  serviceFailures,
} from "./operation.ts";
import { use } from "./parameters.ts";
import { followFrames, frameTable } from "./service-frames.ts";

const forms = `\`Accept\` chooses the form:

| Accept | answer |
|---|---|
| \`application/json\` (default) | a page: \`events\`, \`next\` (a link, or null at the end) and \`head\` |
| \`application/cloudevents-batch+json\` | a page as the bare array, with \`Link: <…>; rel="next"\` |
| \`application/x-ndjson\` | a replay: one event a line, at the reader's pace, of any length, up to the head of the moment it started. It breaks off without its last chunk when the service fails |
| \`text/event-stream\` | follow: Server-Sent Events, history first, then live, without gap or duplicate |

A filtered page that has searched for two seconds ends early: it may hold few events or none and still have a \`next\`.`;

/** What there is to know of an event stream; `id` says what the ids of its frames are. */
export const eventStream = (
  id: string,
) => `**Event stream.** Begins at \`from\`, by default \`latest\`; with \`to\` or \`limit\` it ends. An event is a frame with \`id:\` (${id}) and \`data:\` (the envelope on one line), without \`event:\` unless \`named=true\`. A reconnect with \`Last-Event-ID\` goes on right behind that event. The service's own frames are named:

${frameTable(followFrames)}

A reconnect whose \`Last-Event-ID\` begins with \`end:\` is answered 204, after which EventSource stays away. A heartbeat is a comment with \`id:\` every 15 seconds. Overload, a restart and a database that is away are a 200 with \`sluice.problem\`, \`retry:\` and a close, because EventSource gives up on any other status.`;

const filters = ["Direction", "Types", "Correlation", "Key", "Where", "SchemaTarget"] as const;
const following = ["LastEventId", "LastEventIdQuery", "Named", "Progress"] as const;

const text = (description: string, examples: Record<string, Example>): MediaType => ({
  schema: { type: "string", description },
  examples,
});

const page = (next: string): ResponseObject => ({
  description:
    "The events, in the form that was asked for: a page, a replay, or an event stream (see above for its frames).",
  headers: { Link: component("headers", "NextPage") },
  content: {
    "application/json": {
      schema: component("schemas", "EventPage"),
      examples: { page: { value: { events: eventExamples, next, head: "2000" } } },
    },
    "application/cloudevents-batch+json": {
      schema: component("schemas", "Events"),
      examples: { page: { value: eventExamples } },
    },
    "application/x-ndjson": text("Each line is an Event, ended by a line feed", { replay: { value: ndjsonExample } }),
    "text/event-stream": text("Frames of Server-Sent Events; the data of an unnamed frame is an Event", {
      following: { summary: "from=16 in a stream whose last offset is 17", value: eventStreamExample },
      bounded: { summary: "from=16&to=17&progress=true", value: endedStreamExample },
    }),
  },
});

const refusals = problems(
  "invalid-stream-name",
  "invalid-parameter",
  "invalid-place",
  "invalid-filter",
  "replay-forbidden",
  "stream-not-found",
  "not-acceptable",
  "cursor-beyond-head",
  "uri-too-long",
  ...serviceFailures,
  "schemas-unavailable",
);

const over: ResponseObject = {
  description: "Event stream: the reader was told that its stream is over; it shall not come back.",
};

export const readStream: Operation = {
  operationId: "readStream",
  summary: "Read, replay or follow one stream",
  description: `${forms}

${eventStream("the offset")}

A stream that does not exist yet can be followed: it begins with its first append. The other forms answer 404.`,
  tags: ["Events"],
  parameters: use("StreamName", "From", "To", "After", "Limit", ...filters, ...following),
  responses: { "200": page("/api/streams/orders/events?limit=2&after=17"), "204": over, ...refusals },
};

export const readLog: Operation = {
  operationId: "readLog",
  summary: "Read, replay or follow several streams",
  description: `The events of several streams in the order of the log. Numbers in \`from\`, \`to\` and \`after\`, and the ids of frames, are positions. Streams that forbid replay are passed over, unless they are named.

${forms}

${eventStream("the position")}`,
  tags: ["Events"],
  parameters: use("Streams", "From", "To", "After", "Limit", ...filters, ...following),
  responses: { "200": page("/api/events?limit=2&after=1042"), "204": over, ...refusals },
};

/** What `readLog` is to all streams, for a workflow. */
export const readWorkflowEvents: Operation = {
  ...readLog,
  parameters: use(
    "WorkflowIdPath",
    "From",
    "To",
    "After",
    "Limit",
    ...filters.filter((name) => name !== "Correlation"),
    ...following,
  ),
  responses: { "200": page("/api/workflows/checkout-7/events?limit=2&after=1042"), "204": over, ...refusals },
};

const oneEvent: MediaType = {
  schema: component("schemas", "Event"),
  examples: { event: { value: eventExamples[0] } },
};

export const readEvent: Operation = {
  operationId: "readEvent",
  summary: "Read one event",
  description: "The event at an offset. One that has been removed is 410, one that is not there yet 404.",
  tags: ["Events"],
  parameters: use("StreamName", "Offset", "SchemaTarget"),
  responses: {
    "200": {
      description: "The event.",
      content: { "application/json": oneEvent, "application/cloudevents+json": oneEvent },
    },
    ...problems(
      "invalid-stream-name",
      "invalid-parameter",
      "replay-forbidden",
      "stream-not-found",
      "event-not-found",
      "not-acceptable",
      "event-removed",
      "uri-too-long",
      ...serviceFailures,
    ),
  },
};
