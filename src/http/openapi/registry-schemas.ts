// The schemas of the schema registry's answers.
import { compatibilities } from "../../stream/schema/schema-version.ts";
import type { Schema } from "./operation.ts";

const version: Schema = { type: "string", pattern: "^[1-9][0-9]{0,8}$", description: "The first is 1" };
const type: Schema = { type: "string", description: "The type of the events" };
const compatibility: Schema = {
  enum: [...compatibilities],
  description:
    "What a new version must hold to. backward: it reads what the version before wrote, as its upcaster leaves it; forward: the version before reads what it writes; full: both",
};
const path = (description: string): Schema => ({ type: "string", description });
const violations: Schema = {
  type: "array",
  items: {
    type: "object",
    properties: { path: path("A JSON Pointer (RFC 6901) into the data"), message: { type: "string" } },
    required: ["path", "message"],
  },
};
const upcast: Schema = {
  description:
    "How data of the version before become data of this one: a JSONata expression, or code of a module; null: they stay as they are",
  oneOf: [
    {
      type: "object",
      properties: { language: { const: "jsonata" }, expression: { type: "string" } },
      required: ["language", "expression"],
    },
    { type: "object", properties: { language: { const: "code" } }, required: ["language"] },
    { type: "null" },
  ],
};
const registered = {
  version,
  description: { type: ["string", "null"], description: "For people" },
  upcast,
  registeredAt: { type: "string", format: "date-time", description: "When" },
  registeredBy: { type: "string", description: "api, or module and its name" },
} satisfies Record<string, Schema>;
const differences: Schema = {
  type: "array",
  items: {
    type: "object",
    properties: {
      direction: {
        enum: ["backward", "forward"],
        description: "backward: the new version does not read it; forward: the version before does not",
      },
      path: path("A JSON Pointer into the data; * stands for items and for members that are not named"),
      message: { type: "string" },
    },
    required: ["direction", "path", "message"],
  },
};

/** The schemas of the components, by name. */
export const registrySchemas: Record<string, Schema> = {
  SchemaVersion: {
    type: "object",
    properties: {
      type,
      schema: { type: ["object", "boolean"], description: "JSON Schema (2020-12) of the data, as it was given" },
      ...registered,
    },
    required: ["type", "schema", ...Object.keys(registered)],
  },
  SchemaType: {
    type: "object",
    properties: {
      type,
      compatibility,
      versions: {
        type: "array",
        items: { type: "object", properties: registered, required: Object.keys(registered) },
        description: "Oldest first",
      },
    },
    required: ["type", "compatibility", "versions"],
  },
  SchemaTypes: {
    type: "object",
    properties: {
      schemas: {
        type: "array",
        items: {
          type: "object",
          properties: { type, compatibility, latest: { ...version, description: "The newest version" } },
          required: ["type", "compatibility", "latest"],
        },
      },
      next: { type: ["string", "null"], description: "The next page; null behind the last" },
    },
    required: ["schemas", "next"],
  },
  SchemaHistory: {
    type: "object",
    properties: {
      type,
      changes: {
        type: "array",
        description: "Oldest first",
        items: {
          type: "object",
          properties: {
            id: { type: "string" },
            version: { ...version, type: ["string", "null"], description: "Null of a change of the type" },
            change: { enum: ["registered", "upcaster", "description", "compatibility", "deleted"] },
            detail: { description: "What it is since" },
            by: { type: "string", description: "api, or module and its name" },
            at: { type: "string", format: "date-time" },
          },
          required: ["id", "version", "change", "detail", "by", "at"],
        },
      },
      next: { type: ["string", "null"], description: "The next page; null behind the last" },
    },
    required: ["type", "changes", "next"],
  },
  SchemaDryRun: {
    type: "object",
    properties: {
      outcome: { enum: ["created", "changed", "unchanged", "incompatible"], description: "What would become of it" },
      compatible: { type: "boolean" },
      compatibility,
      differences,
    },
    required: ["outcome", "compatible", "compatibility", "differences"],
  },
  UpcastPreview: {
    type: "object",
    properties: {
      type,
      from: version,
      to: version,
      data: { description: "Data of version `to`" },
      valid: { type: "boolean", description: "Whether they match the schema of that version" },
      errors: violations,
    },
    required: ["type", "from", "to", "data", "valid", "errors"],
  },
};
