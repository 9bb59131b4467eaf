// JSON Schemas in the sandbox: whether they are schemas that can be kept, and what of some data violates one (draft 2020-12).
import Ajv2020, { type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import type { Violation } from "../../../base/errors.ts";
import { pointerToken } from "../../../base/json-pointer.ts";
import type { JsonSchema } from "../json-schema/keywords.ts";
import { mapSubschemas, type SchemaObject } from "../json-schema/map-subschemas.ts";
import { subschemas } from "../json-schema/subschemas.ts";

const dialect = "https://json-schema.org/draft/2020-12/schema";
const maxViolations = 20;
/** What is told of a violation stays small, whatever stands in schemas and data. */
const maxText = 200;
const maxListed = 10;

const options = {
  // What JSON Schema says to ignore is ignored: unknown keywords, which may be another tool's.
  strict: false,
  logger: false,
  allErrors: true,
  // A member that data inherits from a prototype is not there.
  ownProperties: true,
} as const;
const metaSchema = new Ajv2020(options);

/** What makes it no schema that can be kept; none when all is well. */
export function inspectSchema(schema: unknown): Violation[] {
  if (typeof schema !== "boolean" && (typeof schema !== "object" || schema === null || Array.isArray(schema)))
    return [{ path: "", message: "a schema is an object or a boolean" }];
  const named = typeof schema === "object" ? (schema as { $schema?: unknown }).$schema : undefined;
  if (named !== undefined && named !== dialect && named !== `${dialect}#`)
    return [{ path: "/$schema", message: `must be ${dialect}, or left out` }];
  const wrong = metaSchema.validate(dialect, schema) === true ? [] : violationsOf(metaSchema.errors);
  if (wrong.length > 0) return wrong;
  for (const { pointer, schema: part } of subschemas(schema as JsonSchema)) {
    if (typeof part === "boolean") continue;
    for (const keyword of ["$ref", "$dynamicRef"]) {
      const reference = part[keyword];
      // Nothing is ever fetched: what is elsewhere can change, and be out of reach.
      if (typeof reference === "string" && !reference.startsWith("#"))
        return [
          {
            path: `${pointer}/${keyword}`,
            message: `refers to ${reference}: only references within the schema, which begin with #, are followed`,
          },
        ];
    }
  }
  try {
    compileSchema(schema as JsonSchema);
  } catch (error) {
    return [{ path: "", message: error instanceof Error ? error.message : String(error) }];
  }
  return [];
}

/** Throws a plain sentence. */
export function compileSchema(schema: JsonSchema): ValidateFunction {
  // Each has an instance of its own, since schemas name themselves as they like.
  const ajv = new Ajv2020({ ...options, meta: false, validateSchema: false });
  addFormats.default(ajv);
  return ajv.compile(mapSubschemas(schema, withoutExtensions) as JsonSchema) as ValidateFunction;
}

/** Keywords of the validator's own, which mean nothing in JSON Schema: an asynchronous schema would find everything valid. */
function withoutExtensions(schema: boolean | SchemaObject): unknown {
  if (typeof schema === "boolean") return schema;
  const { $schema, $async, nullable, ...rest } = schema;
  return rest;
}

/** What of the data violates the schema, so many places of it at most; none when it is valid. */
export function violationsOf(errors: readonly ErrorObject[] | null | undefined, most = maxViolations): Violation[] {
  const violations = new Map<string, Violation>();
  for (const error of errors ?? []) {
    if (violations.size >= most) break;
    const { path, message } = describe(error);
    const violation = { path: path.slice(0, maxText), message: message.slice(0, maxText) };
    violations.set(`${violation.path} ${violation.message}`, violation);
  }
  return [...violations.values()];
}

function describe({ instancePath, keyword, params, message }: ErrorObject): Violation {
  if (keyword === "required")
    return { path: instancePath + pointerToken(params.missingProperty), message: "is required" };
  const extra = params.additionalProperty ?? params.unevaluatedProperty;
  if (extra !== undefined) return { path: instancePath + pointerToken(extra), message: "is not allowed" };
  if (keyword === "const") return { path: instancePath, message: `must be ${shown(params.allowedValue)}` };
  if (keyword === "enum") return { path: instancePath, message: `must be one of ${listOf(params.allowedValues)}` };
  return { path: instancePath, message: message ?? keyword };
}

/** The first of a list, which can be as long as a schema. */
function listOf(values: readonly unknown[]): string {
  const first = values.slice(0, maxListed).map(shown).join(", ");
  return values.length > maxListed ? `${first} and ${values.length - maxListed} more` : first;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > maxText ? `${text.slice(0, maxText)}…` : text;
}
