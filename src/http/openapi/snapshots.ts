// The documents of snapshots.
import type { ProblemCode } from "../../base/errors.ts";
import { ownerPattern, SnapshotInput } from "../snapshots.ts";
import { decimal } from "./event-schemas.ts";
import { component, type Operation, problems, type ResponseObject, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const saved = {
  offset: decimal("Of the last event that is in the state"),
  recordedtime: { type: "string", format: "date-time", description: "When it was saved" },
  by: {
    type: "string",
    pattern: ownerPattern.source,
    description: "`client`: it was put; `decider:` and a name: that decider keeps it",
  },
} satisfies Record<string, Schema>;

/** The schemas of the components, by name. */
export const snapshotSchemas: Record<string, Schema> = {
  Snapshot: {
    type: "object",
    properties: { ...saved, state: { description: "The state, as it was put" } },
    required: ["offset", "state", "recordedtime", "by"],
  },
  SavedSnapshot: { type: "object", properties: saved, required: Object.keys(saved) },
};

const refusals = [
  "invalid-stream-name",
  "invalid-parameter",
  "uri-too-long",
  "stream-not-found",
  ...serviceFailures,
] as const satisfies ProblemCode[];

const bytes: Schema = { type: "string", format: "binary" };
const etag = { description: "The offset, in quotes", schema: { type: "string", examples: ['"17"'] } };
const example = { offset: "17", recordedtime: "2026-11-21T10:00:00.010Z", by: "client" };

const answer = (description: string): ResponseObject => ({
  description,
  headers: { ETag: etag },
  content: {
    "application/json": { schema: component("schemas", "SavedSnapshot"), examples: { saved: { value: example } } },
  },
});

export const getSnapshot: Operation = {
  operationId: "getSnapshot",
  summary: "The latest snapshot of a stream's state",
  description:
    "The snapshot of the highest offset: one that a client has put, or one that a decider keeps. The state of the stream is this and what the events behind its offset make of it. A state that was put as JSON comes as JSON, with its digits and spaces; bytes come as they are, with the media type that they were put with, and the rest in headers.",
  tags: ["Streams"],
  parameters: use("StreamName", "SnapshotBy"),
  responses: {
    "200": {
      description: "The snapshot.",
      headers: {
        ETag: etag,
        "Snapshot-Offset": { description: "Of bytes: the offset", schema: saved.offset },
        "Snapshot-Recorded-Time": { description: "Of bytes: when it was saved", schema: saved.recordedtime },
        "Snapshot-By": { description: "Of bytes: whose it is", schema: saved.by },
      },
      content: {
        "application/json": {
          schema: component("schemas", "Snapshot"),
          examples: { snapshot: { value: { ...example, state: { total: 42 } } } },
        },
        "*/*": { schema: bytes },
      },
    },
    ...problems(...refusals, "snapshot-not-found"),
  },
};

export const putSnapshot: Operation = {
  operationId: "putSnapshot",
  summary: "Save a snapshot of a stream's state",
  description:
    "Saves the state after the event at an offset. An older one never replaces a newer one; one at the same offset does. Those of deciders are beside it, and are not replaced. Snapshots go with the stream when it is deleted. A body of any other type than `application/json` is kept as bytes.",
  tags: ["Streams"],
  parameters: use("StreamName", "SnapshotOffset"),
  requestBody: {
    required: true,
    description: "JSON: the offset and the state. Anything else: the state alone, and `offset` is a parameter.",
    content: {
      "application/json": {
        schema: SnapshotInput,
        examples: { json: { value: { offset: "17", state: { total: 42 } } } },
      },
      "*/*": { schema: bytes },
    },
  },
  responses: {
    "200": answer("It replaced an older one, or one at the same offset."),
    "201": answer("It is the first that was put."),
    ...problems(
      ...refusals,
      "forbidden",
      "malformed-body",
      "request-timeout",
      "cursor-beyond-head",
      "snapshot-outdated",
      "body-too-large",
      "unsupported-media-type",
      "invalid-request",
      "outcome-unknown",
    ),
  },
};
