// The document of the append operation.
import { appendExamples, eventExamples } from "./event-examples.ts";
import { component, type Operation, problems, type ResponseObject, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const appended = (description: string, duplicate: boolean): ResponseObject => ({
  description,
  headers: { ETag: component("headers", "LastOffset") },
  content: {
    "application/json": {
      schema: component("schemas", "Appended"),
      examples: {
        [duplicate ? "repeated" : "stored"]: {
          value: {
            stream: "orders",
            firstOffset: "16",
            lastOffset: "17",
            lastPosition: "1042",
            events: eventExamples.map(({ id, offset }) => ({ id, offset, duplicate })),
          },
        },
      },
    },
  },
});

export const appendEvents: Operation = {
  operationId: "appendEvents",
  summary: "Append one event or many",
  description: `Appends events to the end of a stream, all or none, and answers after the commit. A stream that does not exist is created, persistent and with the defaults.

**Forms.** \`application/json\` takes one event or an array and asks for nothing but \`type\`. The structured mode (\`application/cloudevents+json\`), the batch mode (\`application/cloudevents-batch+json\`) and the binary mode of CloudEvents 1.0 (\`ce-*\` headers, any other content as the data) are taken too. In binary mode every attribute is a header \`ce-{attribute}\`, extensions included, percent-encoded; the content type becomes \`datacontenttype\`, JSON becomes \`data\` and anything else \`data_base64\`.

**Expected version.** \`If-Match\` and \`If-None-Match\` make the append conditional on the last offset of the stream; when it is another, the answer is 412 with \`expected\` and \`actual\`.

**Repeating is safe** for events with an \`id\`, and for any request with an \`Idempotency-Key\`: an event that the stream holds already (by \`source\` and \`id\`) is not stored again, its original offset comes back with \`duplicate\` true, also when the expected version has gone stale since. The same id with another content is 409.

**Schemas.** A stream with \`validation\` \`enforce\` refuses events that do not match the registered schema of their type and \`schemaversion\` (1 by default), or have none: 422 \`schema-mismatch\` with the paths; \`warn\` stores and counts them. What is stored already is not judged again.

\`stream\`, \`offset\`, \`position\`, \`recordedtime\` and \`upcasterror\` are set by the service, \`deliverytoken\`, \`deliveryattempt\`, \`deliverydeadline\` and \`deliverysubscription\` where it hands an event out, and types that begin with \`sluice.\` are its own: giving them is an error. A body has at most 1 MiB (MAX_BODY_BYTES), an array at most 1,000 events, data at most 100 levels.`,
  tags: ["Events"],
  parameters: use(
    "StreamName",
    "IfMatch",
    "IfNoneMatch",
    "IdempotencyKey",
    "CeSpecVersion",
    "CeType",
    "CeId",
    "CeSource",
    "CeSubject",
    "CeTime",
    "CeCorrelationId",
    "CePartitionKey",
  ),
  requestBody: {
    required: false,
    description: "Events. In binary mode it is the data, and may be missing.",
    content: {
      "application/json": { schema: component("schemas", "EventsInput"), examples: appendExamples.json },
      "application/cloudevents+json": {
        schema: component("schemas", "StructuredEvent"),
        examples: appendExamples.cloudEvent,
      },
      "application/cloudevents-batch+json": {
        schema: component("schemas", "StructuredEvents"),
        examples: appendExamples.batch,
      },
      "*/*": {
        schema: { description: "Binary mode: the data of one event, whose attributes are ce-* headers" },
        examples: appendExamples.any,
      },
    },
  },
  responses: {
    "200": appended("Every event had been stored before: nothing is stored now.", true),
    "201": appended("Stored and committed.", false),
    ...problems(
      "malformed-body",
      "invalid-stream-name",
      "invalid-parameter",
      "request-timeout",
      "event-id-conflict",
      "idempotency-key-in-use",
      "wrong-expected-version",
      "body-too-large",
      "uri-too-long",
      "unsupported-media-type",
      "invalid-event",
      "schema-mismatch",
      "empty-append",
      "idempotency-key-reused",
      ...serviceFailures,
      "overloaded",
      "schemas-unavailable",
      "outcome-unknown",
      "shutting-down",
    ),
  },
};
