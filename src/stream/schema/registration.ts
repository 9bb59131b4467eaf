// Registers versions of event types: checks the schema and the upcaster, judges the compatibility, and stores it once.
import {
  incompatibleSchema,
  invalidSchema,
  schemaConflict,
  schemaInUse,
  schemaNotFound,
  schemaVersionGap,
  type Violation,
} from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Pool } from "../../storage/pool.ts";
import type { DirectedDifference } from "./compatibility/compatibility.ts";
import { isVersionInUse } from "./in-use.ts";
import type { JsonSchema } from "./json-schema/keywords.ts";
import type { Registry } from "./registry.ts";
import {
  callSchemaConfigure,
  callSchemaDelete,
  callSchemaRegister,
  readType,
  readVersion,
  type VersionChange,
} from "./registry-tables.ts";
import type { Sandbox } from "./sandbox/sandbox.ts";
import type { SchemaInspection, SchemaReport } from "./sandbox/schema-report.ts";
import { schemaChanges } from "./schema-changes.ts";
import { type Compatibility, defaultCompatibility, type Upcast } from "./schema-version.ts";

export type SchemaProposal = {
  type: string;
  version: number;
  schema: unknown;
  description: string | null;
  /** `keep`: whatever there is; `keep-expression`: if it is one. */
  upcast: Upcast | "keep" | "keep-expression" | null;
  /** Who registers it: `api`, or a module. */
  by: string;
};

/** What would become of a proposal, or has become of it. */
export type RegistrationResult = {
  outcome: "created" | "changed" | "unchanged" | "incompatible";
  compatibility: Compatibility;
  /** What keeps it from being compatible; with an upcaster only what old readers trip over. */
  differences: DirectedDifference[];
};

export type Registration = {
  /**
   * Stores a version, or tells with `dryRun` what would become of it. Throws `invalid-schema`, `schema-version-gap`,
   * `schema-conflict`, and unless it is a dry run `incompatible-schema`.
   */
  register: (proposal: SchemaProposal, options?: { dryRun: boolean }) => Promise<RegistrationResult>;
  configure: (type: string, compatibility: Compatibility, by: string) => Promise<void>;
  /** Throws `schema-not-found`, `schema-in-use`. */
  remove: (type: string, version: number, by: string, signal: AbortSignal) => Promise<void>;
};

export type RegistrationOptions = {
  reads: Pool;
  writes: Pool;
  registry: Pick<Registry, "refresh">;
  sandbox: Pick<Sandbox, "run">;
  /** The last position that is committed. */
  readHead: () => Promise<number>;
  /** Tells the other processes. */
  announce: () => void;
  log: Log;
};

const maxTries = 10;

export function createRegistration(options: RegistrationOptions): Registration {
  const { reads, writes, registry, sandbox, log } = options;

  async function inspect(schema: unknown, previous: JsonSchema | null): Promise<SchemaReport> {
    const inspection: SchemaInspection = { schema, previous };
    const [outcome] = await sandbox.run("inspect-schema", [], [JSON.stringify(inspection)]);
    if (outcome === undefined || outcome.text === null)
      throw invalidSchema([{ path: "/schema", message: `cannot be checked: ${outcome?.error}` }]);
    const report = JSON.parse(outcome.text) as SchemaReport;
    const violations = report.violations.map(({ path, message }) => ({ path: `/schema${path}`, message }));
    if (violations.length > 0) throw invalidSchema(violations);
    return report;
  }

  async function inspectUpcast(upcast: SchemaProposal["upcast"], version: number): Promise<void> {
    const violations: Violation[] = [];
    if (upcast !== null && typeof upcast !== "string") {
      if (version === 1) violations.push({ path: "/upcast", message: "there is no version before the first" });
      if (upcast.language === "jsonata") {
        const [outcome] = await sandbox.run("inspect-expression", [], [JSON.stringify(upcast.expression)]);
        if (outcome?.error !== null) violations.push({ path: "/upcast/expression", message: String(outcome?.error) });
      }
    }
    if (violations.length > 0) throw invalidSchema(violations);
  }

  async function judge(proposal: SchemaProposal): Promise<{ change: VersionChange; registered: RegistrationResult }> {
    const { type, version, schema, upcast } = proposal;
    const [known, previous, present] = await reads.run(async (sql) => [
      await readType(sql, type),
      await readVersion(sql, type, version - 1),
      await readVersion(sql, type, version),
    ]);
    const compatibility = known?.compatibility ?? defaultCompatibility;
    const latest = known?.versions.length ?? 0;
    if (version > latest + 1) throw schemaVersionGap(type, version, latest + 1);
    const report = await inspect(schema, previous === null ? null : (JSON.parse(previous.schema) as JsonSchema));
    if (present !== null && present.contentHash !== report.contentHash)
      throw schemaConflict(type, version, schemaChanges(JSON.parse(present.schema), schema));
    const readsPrevious = !report.differences.some(({ direction }) => direction === "backward");
    const will = kept(upcast, present?.upcast ?? null);
    const differences = report.differences.filter(({ direction }) =>
      // What the upcaster makes of older data is its author's to answer for.
      direction === "backward" ? compatibility !== "forward" && will === null : compatibility !== "backward",
    );
    const isSameUpcast = present !== null && isSame(will, present.upcast);
    const isUnchanged = isSameUpcast && present.description === proposal.description;
    // What is there already is not judged anew, by a rule that may be another one now.
    const isIncompatible = differences.length > 0 && !isSameUpcast;
    return {
      change: {
        type,
        version,
        schema: JSON.stringify(schema),
        contentHash: report.contentHash,
        description: proposal.description,
        upcast,
        readsPrevious,
        by: proposal.by,
        compatibility,
        previousHash: previous?.contentHash ?? null,
      },
      registered: {
        outcome: isIncompatible ? "incompatible" : present === null ? "created" : isUnchanged ? "unchanged" : "changed",
        compatibility,
        differences: isIncompatible ? differences : [],
      },
    };
  }

  return {
    async register(proposal, { dryRun } = { dryRun: false }) {
      const { type, version } = proposal;
      await inspectUpcast(proposal.upcast, version);
      for (let tries = 1; ; tries++) {
        const { change, registered } = await judge(proposal);
        if (dryRun) return registered;
        if (registered.outcome === "incompatible")
          throw incompatibleSchema(type, version, registered.compatibility, registered.differences);
        const { outcome, latest } = await writes.run((sql) => callSchemaRegister(sql, change));
        switch (outcome) {
          case "stale":
          case "conflict":
            // Somebody else registers at the same time: judged anew, it is a conflict, or the same.
            if (tries === maxTries) throw schemaConflict(type, version, []);
            continue;
          case "gap":
            throw schemaVersionGap(type, version, latest + 1);
          case "created":
          case "changed":
            await registry.refresh();
            options.announce();
            log.info(
              { type, version, by: proposal.by },
              outcome === "created" ? "schema registered" : "schema changed",
            );
            return { ...registered, outcome };
          case "unchanged":
            // It may have been registered elsewhere a moment ago.
            await registry.refresh();
            return { ...registered, outcome };
          default:
            return outcome satisfies never;
        }
      }
    },
    async configure(type, compatibility, by) {
      await writes.run((sql) => callSchemaConfigure(sql, type, compatibility, by));
      await registry.refresh();
      options.announce();
      log.info({ type, compatibility, by }, "compatibility set");
    },
    async remove(type, version, by, signal) {
      const known = await reads.run((sql) => readVersion(sql, type, version));
      if (known === null) throw schemaNotFound(type, version);
      const usedBy = await isVersionInUse(reads, { type, version, head: await options.readHead(), signal });
      if (usedBy !== null) throw schemaInUse(type, version, usedBy);
      const outcome = await writes.run((sql) => callSchemaDelete(sql, type, version, by));
      if (outcome === "not-found") throw schemaNotFound(type, version);
      if (outcome === "older") throw schemaInUse(type, version, "a later version builds on it");
      if (outcome === "received")
        throw schemaInUse(type, version, "a subscription receives its events as this version");
      await registry.refresh();
      options.announce();
      log.info({ type, version, by }, "schema deleted");
    },
  };
}

/** The upcaster that a version will have. */
function kept(proposed: SchemaProposal["upcast"], present: Upcast | null): Upcast | null {
  if (proposed === "keep") return present;
  if (proposed === "keep-expression") return present?.language === "jsonata" ? present : null;
  return proposed;
}

function isSame(a: Upcast | null, b: Upcast | null): boolean {
  if (a?.language === "jsonata" && b?.language === "jsonata") return a.expression === b.expression;
  return a?.language === b?.language;
}
