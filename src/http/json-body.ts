// Reads JSON bodies of commands, and checks them against their schemas.
import type { Static, TObject } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { parseDuration } from "../base/duration.ts";
import { invalidRequest, malformedBody, type Violation } from "../base/errors.ts";
import { messageOf } from "../base/schema.ts";
import { isTooDeep } from "../stream/json-text.ts";
import type { BodyReader } from "./body.ts";

/** The JSON of a body; an empty one is an empty object. Throws `malformed-body`. */
export async function readJson(body: BodyReader, request: Request): Promise<unknown> {
  return parseJson(await body.text(request));
}

/** The JSON of a text; an empty one is an empty object. Throws `malformed-body`. */
export function parseJson(text: string): unknown {
  if (text.trim() === "") return {};
  if (isTooDeep(text)) throw malformedBody("The body is nested deeper than 100 levels");
  try {
    return JSON.parse(text);
  } catch {
    throw malformedBody("The body is not JSON");
  }
}

/** A check of what bodies of one schema hold, which throws `invalid-request`. */
export function createBodyCheck<Schema extends TObject>(schema: Schema): (value: unknown) => Static<Schema> {
  const checker = TypeCompiler.Compile(schema);
  return (value) => {
    if (checker.Check(value)) return value;
    const violations: Violation[] = [];
    for (const error of checker.Errors(value)) {
      const message =
        error.message === "Unexpected property"
          ? `is not known; there are ${Object.keys(schema.properties).join(", ")}`
          : (messageOf(error.schema) ?? lowerFirst(error.message));
      if (!violations.some((v) => v.path === error.path)) violations.push({ path: error.path, message });
    }
    throw invalidRequest(violations);
  };
}

/** A reader of bodies of one schema, which throws `malformed-body` and `invalid-request`. */
export function createJsonReader<Schema extends TObject>(
  schema: Schema,
): (body: BodyReader, request: Request) => Promise<Static<Schema>> {
  const check = createBodyCheck(schema);
  return async (body, request) => check(await readJson(body, request));
}

/** A duration of a body. Throws `invalid-request`. */
export function durationOf(path: string, text: string, minMs: number, maxMs: number): number {
  const ms = parseDuration(text);
  if (ms === null || ms < minMs || ms > maxMs)
    throw invalidRequest([
      { path, message: `must be a duration such as 500ms, 30s or 5m, from ${minMs}ms to ${maxMs}ms` },
    ]);
  return ms;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
