// What the requests on schemas have in common: names in paths, what there must be, and how it is shown.
import { forbidden, invalidParameter, schemaNotFound } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import type { Pool } from "../storage/pool.ts";
import { readType, readVersion } from "../stream/schema/registry-tables.ts";
import { isEventType, maxVersion, type SchemaVersion } from "../stream/schema/schema-version.ts";
import { readVersionNumber } from "../stream/schema/target.ts";

const scope = "sluice.schemas";

/** Throws `forbidden`. */
export function requireSchemaManager(principal: Principal): void {
  if (!principal.canManage(scope)) throw forbidden("Managing schemas is not allowed");
}

/** Throws `schema-not-found`. */
export async function requireType(reads: Pool, type: string) {
  const found = await reads.run((sql) => readType(sql, type));
  if (found === null || found.versions.length === 0) throw schemaNotFound(type, null);
  return found;
}

/** Throws `schema-not-found`. */
export async function requireVersion(reads: Pool, type: string, version: number) {
  const found = await reads.run((sql) => readVersion(sql, type, version));
  if (found === null) {
    await requireType(reads, type);
    throw schemaNotFound(type, version);
  }
  return found;
}

/** Throws `invalid-parameter`. */
export function readTypeName(text: string | undefined): string {
  const type = text ?? "";
  if (!isEventType(type))
    throw invalidParameter(
      "type",
      "a type has 1 to 256 characters without control characters, and does not begin with sluice.",
    );
  return type;
}

/** Throws `invalid-parameter`. */
export function readVersionPath(params: Record<string, string>): [type: string, version: number] {
  const version = readVersionNumber(params.version ?? "");
  if (version === null) throw invalidParameter("version", `a version is a whole number from 1 to ${maxVersion}`);
  return [readTypeName(params.type), version];
}

/** A version as the API shows it. */
export type SchemaVersionDescription = Omit<SchemaVersion, "type" | "version" | "readsPrevious"> & { version: string };

export function describeVersion({
  version,
  description,
  upcast,
  registeredAt,
  registeredBy,
}: SchemaVersion): SchemaVersionDescription {
  return { version: String(version), description, upcast, registeredAt, registeredBy };
}

export function printVersion(found: SchemaVersion & { schema: string }): string {
  const { version, ...rest } = describeVersion(found);
  return `{"type":${JSON.stringify(found.type)},"version":"${version}","schema":${found.schema},${JSON.stringify(rest).slice(1)}`;
}
