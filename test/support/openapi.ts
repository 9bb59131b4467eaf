// Holds answers and examples against the OpenAPI document.
import { expect } from "bun:test";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { readConfig } from "../../src/config.ts";
import { describeOperations } from "../../src/http/openapi/document.ts";
import { extensionsOf, loadModules } from "../../src/workflow/module/load-modules.ts";

type Reference = { $ref?: string };
export type DocumentedExample = Reference & { value?: unknown };
export type DocumentedMedia = { examples?: Record<string, DocumentedExample> };
export type DocumentedResponse = { description: string; content?: Record<string, DocumentedMedia> };
export type DocumentedOperation = {
  operationId: string;
  summary: string;
  tags: string[];
  parameters?: (Reference & { name?: string; in?: string; schema?: { examples?: string[]; enum?: string[] } })[];
  requestBody?: { content: Record<string, DocumentedMedia> };
  responses: Record<string, DocumentedResponse>;
};

/** Of a service without modules. */
export const documentText = describeOperations();
/** Of a service with its samples. */
export const documentWithSamples = describeOperations(extensionsOf(await loadModules(readConfig({}).modules)));
export const document = JSON.parse(documentText) as {
  openapi: string;
  paths: Record<string, Record<string, DocumentedOperation>>;
  components: Record<string, Record<string, unknown>>;
};

/** All operations: method, path and what the document says. */
export const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
);

const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema({ $id: "document", ...document });
const validators = new Map<string, ValidateFunction>();

/** What is wrong with a value, by the schema at a place in the document; empty when nothing is. */
export function violations(place: string[], value: unknown): string[] {
  const pointer = place.map((key) => encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/");
  const validate = validators.get(pointer) ?? ajv.compile({ $ref: `document#/${pointer}` });
  validators.set(pointer, validate);
  return validate(value) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

/** What a reference refers to, or the value itself. */
export function resolved<T extends Reference>(value: T): T {
  if (value.$ref === undefined) return value;
  const [, , section = "", name = ""] = value.$ref.split("/");
  return document.components[section]?.[name] as T;
}

/** Checks that the document foresees the answer: its status, its media type, and the shape of its body. */
export async function expectDocumented(method: string, path: string, response: Response): Promise<unknown> {
  const { status } = response;
  const foreseen = document.paths[path]?.[method.toLowerCase()]?.responses[String(status)];
  if (foreseen === undefined) throw new Error(`${method} ${path} answers ${status}, which is not documented`);
  const text = await response.text();
  if (foreseen.content === undefined || method === "HEAD") {
    expect(text).toBe("");
    return null;
  }
  const mediaType = (response.headers.get("content-type") ?? "").split(";", 1)[0] as string;
  expect(Object.keys(foreseen.content)).toContain(mediaType);
  const value: unknown = /[/+]json$/.test(mediaType) ? JSON.parse(text) : text;
  const place = ["paths", path, method.toLowerCase(), "responses", String(status), "content", mediaType, "schema"];
  expect(violations(place, value)).toEqual([]);
  return value;
}
