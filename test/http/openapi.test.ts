// The OpenAPI document by itself: valid, complete, and true to the catalogue of problems.
import { expect, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Elysia } from "elysia";
import { catalogue } from "../../src/base/errors.ts";
import { openApiDocument } from "../../src/http/openapi/document.ts";
import { noExtensions } from "../../src/http/openapi/extensions.ts";
import {
  type DocumentedMedia,
  document,
  documented,
  documentText,
  documentWithSamples,
  resolved,
  violations,
} from "../support/openapi.ts";

test("the document is valid OpenAPI 3.1", async () => {
  expect(document.openapi).toStartWith("3.1.");
  const validator = new Validator();
  expect((await validator.validate(JSON.parse(documentWithSamples))).errors).toBeUndefined();
  expect(validator.version).toBe("3.1");
});

test("openapi.json is what the operations make", async () => {
  expect(await Bun.file(new URL("../../openapi.json", import.meta.url)).text()).toBe(documentWithSamples);
});

test("each operation has an id of its own, a summary and a tag", () => {
  const ids = documented.map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
  for (const { operation } of documented) {
    expect(operation.operationId).toMatch(/^[a-z][A-Za-z]+$/);
    expect(operation.summary).not.toBe("");
    expect(operation.tags).toHaveLength(1);
  }
});

test("the path parameters of each operation are those of its path", () => {
  for (const { path, operation } of documented) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string);
    const described = (operation.parameters ?? []).map(resolved).filter((parameter) => parameter.in === "path");
    expect(described.map((parameter) => parameter.name as string)).toEqual(named);
  }
});

test("each reference leads somewhere, and each component is referred to", () => {
  const references = new Set(
    [...documentText.matchAll(/"#\/components\/([^"]+)"/g)].map((match) => match[1] as string),
  );
  const components = Object.entries(document.components).flatMap(([section, entries]) =>
    Object.keys(entries).map((name) => `${section}/${name}`),
  );
  expect([...references].sort()).toEqual(components.sort());
});

test("each problem code that is mentioned exists, and each that can occur is mentioned", () => {
  const mentioned = new Set<string>();
  for (const { operation } of documented) {
    for (const [status, { content }] of Object.entries(operation.responses)) {
      for (const [code, example] of Object.entries(content?.["application/problem+json"]?.examples ?? {})) {
        mentioned.add(code);
        expect(String(catalogue[code as keyof typeof catalogue]?.status)).toBe(status);
        expect((resolved(example).value as { type: string }).type).toBe(`/problems/${code}`);
      }
    }
  }
  // No operation has it: a method that is not documented.
  expect([...mentioned, "method-not-allowed"].sort()).toEqual(Object.keys(catalogue).sort());
});

test("each example is of its schema", () => {
  let examples = 0;
  const check = (place: string[], content: Record<string, DocumentedMedia> | undefined) => {
    for (const [mediaType, media] of Object.entries(content ?? {})) {
      for (const [name, example] of Object.entries(media.examples ?? {})) {
        examples++;
        const wrong = violations([...place, "content", mediaType, "schema"], resolved(example).value);
        expect({ name, wrong }).toEqual({ name, wrong: [] });
      }
    }
  };
  for (const { method, path, operation } of documented) {
    const place = ["paths", path, method.toLowerCase()];
    check([...place, "requestBody"], operation.requestBody?.content);
    for (const [status, { content }] of Object.entries(operation.responses)) {
      check([...place, "responses", status], content);
    }
  }
  expect(examples).toBeGreaterThan(50);
});

test("a route without a documented operation is refused", () => {
  const app = new Elysia().get("/surprise", () => "");
  expect(() => openApiDocument(app.routes, noExtensions)).toThrow("the route GET /surprise is not documented");
});
