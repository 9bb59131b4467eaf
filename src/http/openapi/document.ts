// The OpenAPI 3.1 document, collected from the routes of the application.
import { registerSchemaPath } from "@elysiajs/swagger/utils";
import { Elysia, type HTTPMethod } from "elysia";
import type { Handler } from "../context.ts";
import { type Extensions, extensionPaths, noExtensions } from "./extensions.ts";
import type { Tag } from "./operation.ts";
import { type Handlers, operations, registerOperations } from "./operations.ts";
import { headers, parameters } from "./parameters.ts";
import { problemExamples } from "./problem-examples.ts";
import { schemas } from "./schemas.ts";

const description = `An event-streaming service on PostgreSQL. Events are appended to streams, kept in one ordered log, read back, replayed and followed live.

Events are CloudEvents 1.0 in JSON everywhere. Offsets, positions and versions are 64-bit numbers and travel as decimal strings. Times are RFC 3339.

Every error is \`application/problem+json\` (RFC 9457), and its \`type\` is one of a closed catalogue (see the schema Problem). Every path that is not in this document answers 404 (\`not-found\`), every other method 405 (\`method-not-allowed\`, with \`Allow\`). A query parameter that an operation under /api does not know is 400. A URL has at most 8,192 characters. GET operations answer HEAD too.

What travels in event streams, and through NATS, is described by [/asyncapi.json](/asyncapi.json) (AsyncAPI 3.0).

A request may bear an \`X-Request-Id\`, which its answer repeats; a problem always has one.`;

const tags: Record<Tag, string> = {
  Events: "Append, read, replay and follow events.",
  Streams: "List, describe, configure and delete streams.",
  Subscriptions:
    "Share events among consumers, with acknowledgements: subscriptions, and the built-in queues of ephemeral streams.",
  "Live connections": "One event stream for many streams and subscriptions.",
  Locks: "Named locks with a time to live and a fencing token.",
  Schemas: "Versions of event types, their JSON Schemas, and how older events become newer ones.",
  Commands: "Run the commands of the service's modules, and follow the workflows that they begin.",
  Projections: "Read models that modules keep up to date: reading them, and deciding about them.",
  Sagas: "Long-running processes of several steps, which are undone in reverse when one of them fails.",
  Outbox: "Events that services on the same database insert in their own transactions.",
  Bridge: "Streams that other services see, over NATS JetStream.",
  "Remote streams": "Streams of other services that are mirrored here through NATS JetStream.",
  Operations: "Health, metrics and documentation of the service.",
};

export type Document = { openapi: string; paths: Record<string, Record<string, unknown>>; [section: string]: unknown };

/**
 * The document of the application's routes. The plugin's collector reads each route's `detail`; the plugin as a whole
 * would declare 3.0.3 and mount a page that loads its scripts from other hosts. Schemas are JSON Schema 2020-12, which
 * 3.1 takes as it is. What modules bring along stands there by itself. Throws when a route has no document.
 */
export function openApiDocument(routes: Elysia["routes"], extensions: Extensions): Document {
  const collected: Document["paths"] = {};
  for (const { method, path, hooks } of routes) {
    const detail = (hooks as { detail?: { operationId?: string; hide?: boolean } }).detail;
    if (detail?.hide === true) continue;
    if (detail?.operationId === undefined) throw new Error(`the route ${method} ${path} is not documented`);
    registerSchemaPath({ schema: collected, method: method as HTTPMethod, path, hook: { detail }, models: {} });
  }
  Object.assign(collected, extensionPaths(extensions));
  return {
    openapi: "3.1.1",
    info: { title: "Sluice", summary: "Event streaming on PostgreSQL", description, version: "0.1.0", license },
    servers: [{ url: "/", description: "The service that serves this document" }],
    security: [],
    tags: Object.entries(tags).map(([name, text]) => ({ name, description: text })),
    paths: collected,
    components: { schemas, parameters, headers, examples: referencedExamples(collected) },
  };
}

const license = { name: "MIT", identifier: "MIT" };

function referencedExamples(paths: unknown): typeof problemExamples {
  const text = JSON.stringify(paths);
  const used = Object.entries(problemExamples).filter(([code]) => text.includes(`"#/components/examples/${code}"`));
  return Object.fromEntries(used);
}

/** The document as a text: two spaces, keys in the order of the sources, a line feed at the end. */
export function printDocument(document: Document): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** The text of the document of this version's operations, without a service that runs. */
export function describeOperations(extensions: Extensions = noExtensions): string {
  const unserved: Handler = () => new Response(null, { status: 503 });
  const handlers = Object.fromEntries(Object.keys(operations).map((key) => [key, unserved])) as Handlers;
  const app = new Elysia();
  registerOperations(app, handlers, () => async () => new Response());
  return printDocument(openApiDocument(app.routes, extensions));
}
