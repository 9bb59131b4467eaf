// The documents of the schema registry.
import type { ProblemCode } from "../../base/errors.ts";
import { SchemaVersionInput, UpcastInput } from "../schema-versions.ts";
import { SchemaTypeInput } from "../schemas.ts";
import { component, type Operation, problems, type ResponseObject, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const refusals = ["uri-too-long", "invalid-parameter", ...serviceFailures] as const satisfies ProblemCode[];
const changes = [
  "malformed-body",
  "request-timeout",
  "body-too-large",
  "unsupported-media-type",
  "invalid-request",
  "forbidden",
  "outcome-unknown",
] as const satisfies ProblemCode[];
const evaluated = ["schemas-unavailable", "overloaded", "shutting-down"] as const satisfies ProblemCode[];

const answer = (description: string, schema: string, value: unknown): ResponseObject => ({
  description,
  content: { "application/json": { schema: component("schemas", schema), examples: { answer: { value } } } },
});

const first = {
  version: "1",
  description: "Somebody has signed up",
  upcast: null,
  registeredAt: "2026-11-20T08:00:00.000Z",
  registeredBy: "api",
};
const expression = '{"firstName": $substringBefore(name, " "), "lastName": $substringAfter(name, " ")}';
const second = {
  version: "2",
  description: "First and last name",
  upcast: { language: "jsonata", expression },
  registeredAt: "2026-11-21T10:00:00.000Z",
  registeredBy: "api",
};
const secondSchema = {
  type: "object",
  properties: { firstName: { type: "string" }, lastName: { type: "string" } },
  required: ["firstName", "lastName"],
};
const users = { type: "UserAdded", compatibility: "backward", versions: [first, second] };

export const listSchemas: Operation = {
  operationId: "listSchemas",
  summary: "List event types",
  description: "The types that have versions, in the order of their names by code point, page by page.",
  tags: ["Schemas"],
  parameters: use("TypePrefix", "TypeAfter", "ListLimit"),
  responses: {
    "200": answer("The types.", "SchemaTypes", {
      schemas: [{ type: "UserAdded", compatibility: "backward", latest: "2" }],
      next: null,
    }),
    ...problems(...refusals),
  },
};

export const getSchemaType: Operation = {
  operationId: "getSchemaType",
  summary: "A type and its versions",
  description: "The versions without their schemas, each of which is served at its own path.",
  tags: ["Schemas"],
  parameters: use("EventType"),
  responses: { "200": answer("The type.", "SchemaType", users), ...problems(...refusals, "schema-not-found") },
};

export const putSchemaType: Operation = {
  operationId: "putSchemaType",
  summary: "Set the compatibility of a type",
  description:
    "By it new versions are judged from now on; those that are there are not judged anew. It can be set before the first version.",
  tags: ["Schemas"],
  parameters: use("EventType"),
  requestBody: {
    required: true,
    description: "Read as JSON, whatever the content type says.",
    content: {
      "application/json": { schema: SchemaTypeInput, examples: { full: { value: { compatibility: "full" } } } },
    },
  },
  responses: {
    "200": answer("Set.", "SchemaType", { ...users, compatibility: "full" }),
    ...problems(...refusals, ...changes),
  },
};

export const getSchemaHistory: Operation = {
  operationId: "getSchemaHistory",
  summary: "What became of a type",
  description: "Each change of the type and its versions, page by page. It outlives versions that are deleted.",
  tags: ["Schemas"],
  parameters: use("EventType", "ChangeAfter", "ListLimit"),
  responses: {
    "200": answer("The changes.", "SchemaHistory", {
      type: "UserAdded",
      changes: [
        {
          id: "1",
          version: "1",
          change: "registered",
          detail: { description: first.description, upcast: null },
          by: "api",
          at: first.registeredAt,
        },
        { id: "2", version: "2", change: "upcaster", detail: second.upcast, by: "api", at: second.registeredAt },
      ],
      next: null,
    }),
    ...problems(...refusals, "schema-not-found"),
  },
};

export const getSchema: Operation = {
  operationId: "getSchema",
  summary: "A version and its schema",
  description:
    "As JSON with what is known of it, as `application/schema+json` the schema alone, or with `as=typescript` a TypeScript module that exports the type of the data. The `dataschema` of events leads here.",
  tags: ["Schemas"],
  parameters: use("EventType", "SchemaVersionPath", "SchemaAs"),
  responses: {
    "200": {
      description: "The version.",
      content: {
        "application/json": {
          schema: component("schemas", "SchemaVersion"),
          examples: { version: { value: { type: "UserAdded", schema: secondSchema, ...second } } },
        },
        "application/schema+json": {
          schema: { type: ["object", "boolean"] },
          examples: { schema: { value: secondSchema } },
        },
        "application/typescript": {
          schema: { type: "string" },
          examples: {
            module: {
              value:
                "export interface UserAdded2 {\n  firstName: string;\n  lastName: string;\n  [k: string]: unknown;\n}\n",
            },
          },
        },
      },
    },
    ...problems(...refusals, ...evaluated, "schema-not-found", "not-acceptable", "invalid-schema"),
  },
};

export const putSchema: Operation = {
  operationId: "putSchema",
  summary: "Register a version",
  description: `Versions are numbered from 1 without gaps. The schema of a version never changes: the same one again is no change, another one is 409 \`schema-conflict\` with the places that differ. The description and the upcaster can change: the body says all of them, and leaving one out removes it; code of a module stays.

An upcaster goes from the version before to this one, so there is one way from each version to each later one, and none back. It is tried out before it is relied on with POST …/upcast.

A version that is not compatible with the one before, by the type's \`compatibility\`, is 409 \`incompatible-schema\` with the differences that break it. With an upcaster, older data need not be valid as they are. With \`dryRun\` nothing is stored, and the answer tells what would become of it.`,
  tags: ["Schemas"],
  parameters: use("EventType", "SchemaVersionPath", "DryRun"),
  requestBody: {
    required: true,
    description: "Read as JSON, whatever the content type says.",
    content: {
      "application/json": {
        schema: SchemaVersionInput,
        examples: {
          version: { value: { schema: secondSchema, description: second.description, upcast: second.upcast } },
        },
      },
    },
  },
  responses: {
    "201": answer("Registered.", "SchemaVersion", { type: "UserAdded", schema: secondSchema, ...second }),
    "200": {
      description: "It was there, with or without a change; or a dry run.",
      content: {
        "application/json": {
          schema: { anyOf: [component("schemas", "SchemaVersion"), component("schemas", "SchemaDryRun")] },
          examples: {
            version: { value: { type: "UserAdded", schema: secondSchema, ...second } },
            dryRun: {
              value: {
                outcome: "incompatible",
                compatible: false,
                compatibility: "backward",
                differences: [{ direction: "backward", path: "/firstName", message: "is required now" }],
              },
            },
          },
        },
      },
    },
    ...problems(
      ...refusals,
      ...changes,
      ...evaluated,
      "invalid-schema",
      "schema-conflict",
      "schema-version-gap",
      "incompatible-schema",
    ),
  },
};

export const deleteSchema: Operation = {
  operationId: "deleteSchema",
  summary: "Delete the newest version",
  description:
    "Only the newest version of a type can be deleted, and only while no event is of it and no subscription receives its events as it.",
  tags: ["Schemas"],
  parameters: use("EventType", "SchemaVersionPath"),
  responses: {
    "204": { description: "Deleted." },
    ...problems(...refusals, "forbidden", "outcome-unknown", "schema-not-found", "schema-in-use"),
  },
};

export const previewUpcast: Operation = {
  operationId: "previewUpcast",
  summary: "Try upcasting",
  description:
    "What becomes of data of one version (by default 1) as another (by default the newest), and whether that matches its schema. Nothing is stored.",
  tags: ["Schemas"],
  parameters: use("EventType"),
  requestBody: {
    required: true,
    description: "Read as JSON, whatever the content type says.",
    content: {
      "application/json": {
        schema: UpcastInput,
        examples: { ada: { value: { from: 1, to: 2, data: { name: "Ada Lovelace" } } } },
      },
    },
  },
  responses: {
    "200": answer("The data as the other version.", "UpcastPreview", {
      type: "UserAdded",
      from: "1",
      to: "2",
      data: { firstName: "Ada", lastName: "Lovelace" },
      valid: true,
      errors: [],
    }),
    ...problems(
      ...refusals,
      ...evaluated,
      "malformed-body",
      "request-timeout",
      "body-too-large",
      "unsupported-media-type",
      "invalid-request",
      "schema-not-found",
      "upcast-failed",
    ),
  },
};
