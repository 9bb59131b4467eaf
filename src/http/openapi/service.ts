// The documents of what probes, scrapers and people ask the service itself.
import { catalogue } from "../../base/errors.ts";
import { docsAssets } from "../docs.ts";
import { component, type Operation, problems, type ResponseObject, serviceFailures } from "./operation.ts";

const page = (mediaType: string, description: string): ResponseObject => ({
  description,
  headers: { ETag: component("headers", "EntityTag") },
  content: { [mediaType]: { schema: { type: "string" } } },
});

const notModified: ResponseObject = { description: "If-None-Match names the content that there is." };

const readiness = (description: string, ok: boolean): ResponseObject => ({
  description,
  content: {
    "application/json": {
      schema: component("schemas", "Readiness"),
      examples: {
        [ok ? "ready" : "notReady"]: {
          value: {
            status: ok ? "ready" : "not ready",
            checks: {
              serving: { ok: true },
              database: ok ? { ok: true } : { ok: false, detail: "the database does not answer" },
              partitions: { ok: true },
              tail: { ok: true, detail: "position 1042, lag 0" },
            },
          },
        },
      },
    },
  },
});

export const livez: Operation = {
  operationId: "livez",
  summary: "Is the process alive?",
  description: "Answers as long as the process serves requests, whatever its database does.",
  tags: ["Operations"],
  responses: {
    "200": {
      description: "It is.",
      content: {
        "application/json": {
          schema: component("schemas", "Liveness"),
          examples: { live: { value: { status: "live" } } },
        },
      },
    },
  },
};

export const readyz: Operation = {
  operationId: "readyz",
  summary: "Can the service serve?",
  description: "Asks the database and the other parts; answers within two seconds. 503 while the service drains.",
  tags: ["Operations"],
  responses: {
    "200": readiness("All parts work.", true),
    "503": readiness("A part does not work; its check says which.", false),
    ...problems("internal-error"),
  },
};

export const metrics: Operation = {
  operationId: "metrics",
  summary: "Metrics for Prometheus",
  description: "The metrics of this process in the text format of Prometheus.",
  tags: ["Operations"],
  responses: {
    "200": {
      description: "The metrics.",
      content: {
        "text/plain": {
          schema: { type: "string" },
          examples: {
            excerpt: {
              value:
                "# HELP sluice_events_appended_total Events stored.\n# TYPE sluice_events_appended_total counter\nsluice_events_appended_total 1042\n",
            },
          },
        },
      },
    },
    ...problems("internal-error"),
  },
};

export const openApi: Operation = {
  operationId: "openApi",
  summary: "This document",
  description: "The OpenAPI 3.1 document of the service.",
  tags: ["Operations"],
  responses: {
    "200": {
      description: "The document.",
      headers: { ETag: component("headers", "EntityTag") },
      content: { "application/json": { schema: { type: "object" } } },
    },
    "304": notModified,
  },
};

export const asyncApi: Operation = {
  operationId: "asyncApi",
  summary: "What the service sends",
  description:
    "The AsyncAPI 3.0 document of the service: its event streams and, where there is NATS, the streams that are published there, with the messages that travel on them. Each version of an event type that is registered is a message with its schema.",
  tags: ["Operations"],
  responses: {
    "200": {
      description: "The document.",
      headers: { ETag: component("headers", "EntityTag") },
      content: { "application/json": { schema: { type: "object" } } },
    },
    "304": notModified,
    ...problems(...serviceFailures),
  },
};

export const docs: Operation = {
  operationId: "docs",
  summary: "This document as a page",
  description: "A page for people, which needs nothing but this service.",
  tags: ["Operations"],
  responses: { "200": page("text/html", "The page."), "304": notModified },
};

export const docsAsset: Operation = {
  operationId: "docsAsset",
  summary: "A file of the page",
  description: "The scripts, styles and images of the page.",
  tags: ["Operations"],
  parameters: [
    {
      name: "asset",
      in: "path",
      required: true,
      description: "Name of the file",
      schema: { type: "string", enum: Object.keys(docsAssets) },
    },
  ],
  responses: {
    "200": {
      description: "The file.",
      headers: { ETag: component("headers", "EntityTag") },
      content: {
        "text/javascript": { schema: { type: "string" } },
        "text/css": { schema: { type: "string" } },
        "image/png": { schema: { type: "string", contentMediaType: "image/png" } },
      },
    },
    "304": notModified,
    ...problems("not-found", "internal-error"),
  },
};

export const problemIndex: Operation = {
  operationId: "problemIndex",
  summary: "All problems",
  description: "A page that lists the types of problems.",
  tags: ["Operations"],
  responses: { "200": page("text/html", "The page."), "304": notModified },
};

export const problemPage: Operation = {
  operationId: "problemPage",
  summary: "What a problem means",
  description: "A page for people: what a problem's `type` means, and what helps.",
  tags: ["Operations"],
  parameters: [
    {
      name: "code",
      in: "path",
      required: true,
      description: "The problem's code, the last part of its `type`",
      schema: { type: "string", enum: Object.keys(catalogue) },
    },
  ],
  responses: { "200": page("text/html", "The page."), "304": notModified, ...problems("not-found") },
};
