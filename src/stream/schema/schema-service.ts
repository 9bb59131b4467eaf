// What is made of a registered schema for those who ask: TypeScript of it, and what of some data violates it.
import { Problem, type Violation } from "../../base/errors.ts";
import type { Sandbox } from "./sandbox/sandbox.ts";
import type { SchemaVersion } from "./schema-version.ts";

type StoredVersion = SchemaVersion & { schema: string; contentHash: string };

export type SchemaService = {
  /** A module that exports the type of the data. Throws `invalid-schema` for a schema that has none. */
  typescript: (version: StoredVersion) => Promise<string>;
  /** What of data, as JSON text, violates the schema. */
  violations: (version: StoredVersion, data: string) => Promise<Violation[]>;
};

export function createSchemaService(sandbox: Pick<Sandbox, "run">): SchemaService {
  return {
    async typescript({ type, version, schema }) {
      const input = `{"schema":${schema},"name":${JSON.stringify(`${type} ${version}`)}}`;
      const [outcome] = await sandbox.run("typescript", [], [input]);
      if (outcome === undefined || outcome.text === null)
        throw new Problem(
          "invalid-schema",
          `There is no TypeScript of version ${version} of ${type}: ${outcome?.error}`,
        );
      return JSON.parse(outcome.text) as string;
    },
    async violations({ schema, contentHash }, data) {
      const [outcome] = await sandbox.run("validate", [{ key: contentHash, text: schema }], [data]);
      if (outcome === undefined || outcome.text === null)
        return [{ path: "", message: `cannot be checked: ${outcome?.error}` }];
      return outcome.text === "" ? [] : (JSON.parse(outcome.text) as Violation[]);
    },
  };
}
