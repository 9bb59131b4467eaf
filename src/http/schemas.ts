// /api/schemas and /api/schemas/{type}: lists types, describes them, sets their compatibility, tells what became of them.
import { Type } from "@sinclair/typebox";
import { invalidParameter, schemaNotFound } from "../base/errors.ts";
import { oneOf } from "../base/schema.ts";
import type { Pool } from "../storage/pool.ts";
import type { Registration } from "../stream/schema/registration.ts";
import type { Registry } from "../stream/schema/registry.ts";
import { listTypes, readHistory, readType } from "../stream/schema/registry-tables.ts";
import type { SchemaService } from "../stream/schema/schema-service.ts";
import { compatibilities } from "../stream/schema/schema-version.ts";
import type { Upcasting } from "../stream/schema/upcasting.ts";
import type { BodyReader } from "./body.ts";
import { type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readNumber, readQuery, readText } from "./parameters.ts";
import { describeVersion, readTypeName, requireSchemaManager, requireType } from "./schema-access.ts";

export type SchemasDependencies = {
  registration: Registration;
  registry: Registry;
  upcasting: Pick<Upcasting, "convert">;
  service: SchemaService;
  reads: Pool;
  body: BodyReader;
};

export type SchemasHandlers = { list: Handler; get: Handler; put: Handler; history: Handler };

export const SchemaTypeInput = Type.Object(
  {
    compatibility: oneOf(compatibilities, {
      description:
        "What each new version must hold to. backward: it reads what the version before wrote, as its upcaster leaves it; forward: the version before reads what it writes; full: both",
    }),
  },
  { additionalProperties: false },
);

const readTypeInput = createJsonReader(SchemaTypeInput);

export function schemasHandlers({ registration, reads, body }: SchemasDependencies): SchemasHandlers {
  return {
    async list({ request }) {
      const query = readQuery(request, ["prefix", "after", "limit"]);
      const limit = readNumber(query, "limit", 100, 1_000);
      const prefix = readName(query, "prefix");
      const after = readName(query, "after");
      const found = await reads.run((sql) => listTypes(sql, { prefix, after, limit: limit + 1 }));
      const shown = found.slice(0, limit);
      const following = new URLSearchParams(query);
      following.set("after", shown.at(-1)?.type ?? "");
      return json({
        schemas: shown.map(({ type, compatibility, latest }) => ({ type, compatibility, latest: String(latest) })),
        next: found.length > limit ? `/api/schemas?${following}` : null,
      });
    },
    async get({ request, params }) {
      readQuery(request, []);
      const type = readTypeName(params.type);
      const { compatibility, versions } = await requireType(reads, type);
      return json({ type, compatibility, versions: versions.map(describeVersion) });
    },
    async put({ request, params, principal }) {
      requireSchemaManager(principal);
      readQuery(request, []);
      const type = readTypeName(params.type);
      const { compatibility } = await readTypeInput(body, request);
      await registration.configure(type, compatibility, "api");
      const found = await reads.run((sql) => readType(sql, type));
      return json({ type, compatibility, versions: (found?.versions ?? []).map(describeVersion) });
    },
    async history({ request, params }) {
      const query = readQuery(request, ["after", "limit"]);
      const type = readTypeName(params.type);
      const limit = readNumber(query, "limit", 100, 1_000);
      const given = query.get("after") ?? "0";
      if (!/^\d{1,15}$/.test(given)) throw invalidParameter("after", "after is the id of a change");
      const after = Number(given);
      const found = await reads.run((sql) => readHistory(sql, type, after, limit + 1));
      if (found.length === 0 && after === 0) throw schemaNotFound(type, null);
      const changes = found.slice(0, limit);
      const following = new URLSearchParams(query);
      following.set("after", changes.at(-1)?.id ?? "");
      return json({
        type,
        changes,
        next: found.length > limit ? `${new URL(request.url).pathname}?${following}` : null,
      });
    },
  };
}

/** A name, or the beginning of one; an empty one is none. */
function readName(query: URLSearchParams, parameter: string): string {
  return query.get(parameter) === "" ? "" : (readText(query, parameter) ?? "");
}
