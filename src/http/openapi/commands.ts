// The documents of commands and workflows.
import type { ProblemCode } from "../../base/errors.ts";
import type { CommandListing } from "../../workflow/commands/command-runner.ts";
import { decimal } from "./event-schemas.ts";
import { component, type Operation, problems, type ResponseObject, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const offset = decimal("Where it stands in its stream");
const workflowId: Schema = {
  type: "string",
  description: "The correlationid of all events of the workflow",
  examples: ["019aa5f2-5b1c-7000-8000-3f6d1c2b4a59"],
};
const outcome = (result: Schema): Schema => ({
  type: "object",
  properties: {
    workflowId,
    isNew: { type: "boolean", description: "No event of the workflow was there before" },
    result,
    lastPosition: {
      type: ["string", "null"],
      pattern: "^[0-9]+$",
      description:
        "Up to where the log has all its events, for `atLeast` of a projection; null when it emitted nothing",
      examples: ["1042"],
    },
    events: {
      type: "array",
      description: "What the command emitted, in order",
      items: {
        type: "object",
        properties: { stream: component("schemas", "StreamName"), offset, id: { type: "string" } },
        required: ["stream", "offset", "id"],
      },
    },
  },
  required: ["workflowId", "isNew", "result", "lastPosition", "events"],
});
const anything: Schema = { description: "Of the command's result schema; null when it has none" };

/** The schemas of the components, by name. */
export const commandSchemas: Record<string, Schema> = {
  CommandOutcome: outcome(anything),
  Command: {
    type: "object",
    properties: {
      name: { type: "string" },
      description: { type: ["string", "null"] },
      body: { description: "The JSON Schema of its body" },
      result: { description: "The JSON Schema of its result; null when it has none" },
    },
    required: ["name", "description", "body", "result"],
  },
};

const refusals = [
  "malformed-body",
  "invalid-parameter",
  "forbidden",
  "command-not-found",
  "request-timeout",
  "event-id-conflict",
  "idempotency-key-in-use",
  "command-rejected",
  "command-conflict",
  "body-too-large",
  "uri-too-long",
  "invalid-request",
  "idempotency-key-reused",
  "command-failed",
  "state-not-rebuilt",
  ...serviceFailures,
  "overloaded",
  "outcome-unknown",
  "schemas-unavailable",
  "shutting-down",
] as const satisfies ProblemCode[];

const example = {
  workflowId: "019aa5f2-5b1c-7000-8000-3f6d1c2b4a59",
  isNew: true,
  result: { userId: "u-1" },
  lastPosition: "1042",
  events: [{ stream: "users", offset: "16", id: "019aa5f2-5b1d-7000-9b2e-5d3a1f0c7e42" }],
};

const answer = (description: string, schema: Schema, examples: boolean): ResponseObject => ({
  description,
  headers: {
    Location: { description: "The events of the workflow", schema: { type: "string", format: "uri-reference" } },
  },
  content: { "application/json": { schema, ...(examples && { examples: { outcome: { value: example } } }) } },
});

const running =
  "All events that a command emits, to whatever streams, are appended at once or not at all, with the id of the workflow as their `correlationid` and the id of the command as their `causationid`. `Workflow-Id`, or `workflowid` in the query, continues a workflow; without it a new one begins. An `Idempotency-Key` makes repeating safe: the same key and the same request get the same answer, and nothing happens twice.";

const answers = (schema: Schema, examples: boolean): Operation["responses"] => ({
  "200": answer("It emitted nothing.", schema, examples),
  "201": answer("Its events are stored.", schema, examples),
  ...problems(...refusals),
});

export const listCommands: Operation = {
  operationId: "listCommands",
  summary: "List commands",
  description:
    "The commands of the service's modules that you may run, with the schemas of their bodies and results, by name.",
  tags: ["Commands"],
  responses: {
    "200": {
      description: "All of them.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            properties: { commands: { type: "array", items: component("schemas", "Command") } },
            required: ["commands"],
          },
          examples: {
            commands: {
              value: {
                commands: [
                  {
                    name: "add-user",
                    description: "Adds a user",
                    body: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
                    result: { type: "object", properties: { userId: { type: "string" } }, required: ["userId"] },
                  },
                ],
              },
            },
          },
        },
      },
    },
    ...problems("invalid-parameter", "uri-too-long", ...serviceFailures),
  },
};

export const runCommand: Operation = {
  operationId: "runCommand",
  summary: "Run a command",
  description: `${running} Each command of the service's modules stands in this document by itself, too, with its own schemas.`,
  tags: ["Commands"],
  parameters: use("CommandName", "WorkflowIdQuery", "WorkflowId", "CommandIdempotencyKey"),
  requestBody: {
    required: true,
    description:
      "As the command's schema says. Read as JSON, whatever the content type says; no body is an empty object.",
    content: { "application/json": { schema: {}, examples: { request: { value: { name: "Ada Lovelace" } } } } },
  },
  responses: answers(component("schemas", "CommandOutcome"), true),
};

/** The operation of one command. */
export function commandOperation({ name, description, body, result }: CommandListing): Operation {
  const id = `run-${name}`.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return {
    operationId: id,
    summary: description ?? name,
    description: running,
    tags: ["Commands"],
    parameters: use("WorkflowIdQuery", "WorkflowId", "CommandIdempotencyKey"),
    requestBody: {
      required: true,
      description: "Read as JSON, whatever the content type says.",
      content: { "application/json": { schema: body as Schema } },
    },
    responses: answers(outcome((result ?? { type: "null" }) as Schema), false),
  };
}

export const readWorkflow: (read: Operation) => Operation = (read) => ({
  ...read,
  operationId: "readWorkflow",
  summary: "Read, replay or follow a workflow",
  description: read.description.replace(
    "The events of several streams in the order of the log.",
    "The events of a workflow, which are those that bear its id as their `correlationid`, in all persistent streams, in the order of the log. A workflow without events is empty.",
  ),
  tags: ["Commands"],
});
