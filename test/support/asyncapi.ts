// Reads the AsyncAPI document of a service, checks it with the parser of AsyncAPI, and holds messages against it.
import { expect } from "bun:test";
import { type AsyncAPIDocumentInterface, Parser } from "@asyncapi/parser";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Frame } from "./sse.ts";

type Reference = { $ref: string };
type DocumentedMessage = { name: string; title: string; description?: string; headers?: unknown; payload: unknown };
export type DocumentedChannel = {
  address: string | null;
  servers: Reference[];
  messages: Record<string, Reference>;
  parameters: Record<string, unknown>;
  bindings?: unknown;
  "x-jetstream"?: { stream: string; subjects: string[] };
};
export type AsyncApi = {
  asyncapi: string;
  info: { description: string };
  servers: Record<string, { host: string; protocol: string; pathname?: string }>;
  channels: Record<string, DocumentedChannel>;
  operations: Record<string, { action: string; channel: Reference }>;
  components: { messages: Record<string, DocumentedMessage>; schemas: Record<string, { schema: unknown }> };
};

export async function readAsyncApi(base: string): Promise<AsyncApi> {
  const response = await fetch(`${base}/asyncapi.json`);
  expect(response.status).toBe(200);
  return (await response.json()) as AsyncApi;
}

const parser = new Parser();

/** The document as the parser understands it; fails when it finds anything wrong, or when a reference leads nowhere. */
export async function parseAsyncApi(document: AsyncApi): Promise<AsyncAPIDocumentInterface> {
  expect(dangling(document)).toEqual([]);
  const parsed = await parser.parse(JSON.stringify(document));
  // That there is a 3.1 is the one thing to be said: tools that read 3.0 are more.
  const said = parsed.diagnostics.filter(({ code }) => code !== "asyncapi-latest-version");
  expect(said.map(({ code, message, path }) => `${code} ${path.join("/")} ${message}`)).toEqual([]);
  return parsed.document as AsyncAPIDocumentInterface;
}

/** What a JSON Pointer of the document leads to. */
function at(document: AsyncApi, pointer: string): unknown {
  let value: unknown = document;
  for (const token of pointer.slice(2).split("/")) {
    const key = decodeURIComponent(token).replaceAll("~1", "/").replaceAll("~0", "~");
    const holder = value as Record<string, unknown> | null | undefined;
    value = typeof holder === "object" && holder !== null && Object.hasOwn(holder, key) ? holder[key] : undefined;
  }
  return value;
}

/** References that lead nowhere, or out of the document. */
function dangling(document: AsyncApi): string[] {
  const found: string[] = [];
  const walk = (value: unknown) => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, member] of Object.entries(value)) {
      if (key !== "$ref") walk(member);
      else if (typeof member !== "string" || !member.startsWith("#/") || at(document, member) === undefined)
        found.push(String(member));
    }
  };
  walk(document);
  return found;
}

export type Validate = (pointer: string, value: unknown) => string[];

/** What of a value violates the schema of a component or a message, by the pointer of what holds it. */
export function validatorOf(document: AsyncApi): Validate {
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema({ $id: "document", ...document });
  return (pointer, value) => {
    const { $ref } = at(document, pointer) as Partial<Reference>;
    const validate = ajv.compile({ $ref: `document${$ref ?? pointer}/schema` });
    return validate(value) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
  };
}

/** Checks that a frame is one of the messages of its channel, and that what it bears is of its schema. */
export function expectDocumentedFrame(document: AsyncApi, validate: Validate, channel: string, frame: Frame): string {
  const data = JSON.parse(frame.data as string) as Record<string, unknown>;
  const isOwn = frame.event?.startsWith("sluice.") === true;
  const wanted = isOwn ? frame.event : data.type;
  const names = Object.keys((document.channels[channel] as DocumentedChannel).messages);
  const messages = names.map((name) => ({ name, message: document.components.messages[name] as DocumentedMessage }));
  const isVersion = (title: string) => isOwn || title.endsWith(`version ${data.schemaversion}`);
  const found =
    messages.find(({ message }) => message.name === wanted && isVersion(message.title)) ??
    (isOwn ? undefined : messages.find(({ name }) => name === "event"));
  expect(found, `${channel} has no message for ${frame.event}`).toBeDefined();
  const { name, message } = found as (typeof messages)[number];
  expect({ name, data, wrong: validate(`#/components/messages/${name}/payload`, data) }).toEqual({
    name,
    data,
    wrong: [],
  });
  if (isOwn) {
    const fields = { event: frame.event, ...(frame.id === null ? {} : { id: frame.id }) };
    expect({ name, wrong: validate(`#/components/messages/${name}/headers`, fields) }).toEqual({ name, wrong: [] });
    const { headers, payload } = message as Record<"headers" | "payload", { schema: Properties }>;
    expect(Object.keys(headers.schema.properties ?? {})).toEqual(expect.arrayContaining(Object.keys(fields)));
    // A problem has further members; whatever else a frame bears is named.
    if (payload.schema.properties !== undefined)
      expect(Object.keys(payload.schema.properties)).toEqual(expect.arrayContaining(Object.keys(data)));
  }
  return name;
}

type Properties = { properties?: Record<string, unknown> };
