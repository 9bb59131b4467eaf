// What is to be known of a schema before it is kept: whether it can be, and how it differs from the version before.
import type { Violation } from "../../../base/errors.ts";
import { contentHash } from "../../../base/ids.ts";
import { compare, type DirectedDifference } from "../compatibility/compatibility.ts";
import { canonical } from "../json-schema/identity.ts";
import type { JsonSchema } from "../json-schema/keywords.ts";
import { inspectSchema } from "./json-schemas.ts";

export type SchemaInspection = {
  schema: unknown;
  /** Of the version before; null when there is none. */
  previous: JsonSchema | null;
};

export type SchemaReport = {
  violations: Violation[];
  contentHash: string;
  /** In both directions. */
  differences: DirectedDifference[];
};

export function reportOf({ schema, previous }: SchemaInspection): SchemaReport {
  const violations = inspectSchema(schema);
  if (violations.length > 0) return { violations, contentHash: "", differences: [] };
  const kept = schema as JsonSchema;
  return {
    violations,
    contentHash: contentHash([canonical(kept)]),
    differences: previous === null ? [] : compare("full", previous, kept),
  };
}
