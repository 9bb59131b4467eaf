// /api/schemas/{type}/versions/{version} and /api/schemas/{type}/upcast: registers, serves and deletes versions, and previews upcasting.
import { type Static, Type } from "@sinclair/typebox";
import {
  invalidParameter,
  invalidRequest,
  malformedBody,
  schemaNotFound,
  schemasUnavailable,
  upcastFailed,
} from "../base/errors.ts";
import { JsonWalk } from "../stream/json-text.ts";
import { readVersion } from "../stream/schema/registry-tables.ts";
import { maxDescriptionLength, maxExpressionLength, maxVersion } from "../stream/schema/schema-version.ts";
import { negotiate } from "./accept.ts";
import { type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readBoolean, readQuery } from "./parameters.ts";
import {
  printVersion,
  readTypeName,
  readVersionPath,
  requireSchemaManager,
  requireType,
  requireVersion,
} from "./schema-access.ts";
import type { SchemasDependencies } from "./schemas.ts";

export type SchemaVersionsHandlers = { get: Handler; put: Handler; remove: Handler; upcast: Handler };

const Version = Type.Union(
  [Type.Integer({ minimum: 1, maximum: maxVersion }), Type.String({ pattern: "^[1-9][0-9]{0,8}$" })],
  { description: "A version" },
);

export const SchemaVersionInput = Type.Object(
  {
    schema: Type.Unknown({
      description:
        "A JSON Schema (2020-12) of the events' data. It refers to nothing outside itself: nothing is ever fetched",
    }),
    description: Type.Optional(
      Type.Union([Type.String({ maxLength: maxDescriptionLength }), Type.Null()], { description: "For people" }),
    ),
    upcast: Type.Optional(
      Type.Union(
        [
          Type.Object(
            {
              language: Type.Literal("jsonata"),
              expression: Type.String({
                minLength: 1,
                maxLength: maxExpressionLength,
                description:
                  "A JSONata expression that makes data of this version of data of the version before. It gives the same answer each time: $now, $millis, $random, $shuffle, $uuid and $eval are refused",
              }),
            },
            { additionalProperties: false },
          ),
          Type.Null(),
        ],
        { description: "How data of the version before become data of this one. Without it they stay as they are" },
      ),
    ),
  },
  { additionalProperties: false },
);

export const UpcastInput = Type.Object(
  {
    from: Type.Optional(Version),
    to: Type.Optional(Version),
    data: Type.Unknown({ description: "Data of version `from`" }),
  },
  { additionalProperties: false },
);

const readVersionInput = createJsonReader(SchemaVersionInput);
const readUpcast = createJsonReader(UpcastInput);

export function schemaVersionsHandlers(dependencies: SchemasDependencies): SchemaVersionsHandlers {
  const { registration, registry, upcasting, service, reads, body } = dependencies;

  async function upcastInCode(type: string, version: number): Promise<"keep" | null> {
    const present = await reads.run((sql) => readVersion(sql, type, version));
    return present?.upcast?.language === "code" ? "keep" : null;
  }

  return {
    async get({ request, params }) {
      const query = readQuery(request, ["as"]);
      const [type, version] = readVersionPath(params);
      const as = query.get("as");
      if (as !== null && as !== "typescript") throw invalidParameter("as", "as is typescript");
      const found = await requireVersion(reads, type, version);
      if (as === "typescript")
        return new Response(await service.typescript(found), {
          headers: { "content-type": "application/typescript; charset=utf-8" },
        });
      const form = negotiate(request.headers.get("accept"), ["application/json", "application/schema+json"]);
      if (form === "application/schema+json") return new Response(found.schema, { headers: { "content-type": form } });
      return new Response(printVersion(found), { headers: { "content-type": form } });
    },
    async put({ request, params, principal }) {
      requireSchemaManager(principal);
      const dryRun = readBoolean(readQuery(request, ["dryRun"]), "dryRun");
      const [type, version] = readVersionPath(params);
      const input = await readVersionInput(body, request);
      refuseOdd(input);
      const proposal = {
        type,
        version,
        schema: input.schema,
        description: input.description ?? null,
        // What is not said of code is not meant to remove it.
        upcast: input.upcast ?? (await upcastInCode(type, version)),
        by: "api",
      };
      const registered = await registration.register(proposal, { dryRun });
      if (dryRun) {
        const { outcome, compatibility, differences } = registered;
        return json({ outcome, compatible: outcome !== "incompatible", compatibility, differences });
      }
      return new Response(printVersion(await requireVersion(reads, type, version)), {
        status: registered.outcome === "created" ? 201 : 200,
        headers: { "content-type": "application/json" },
      });
    },
    async remove({ request, params, principal }) {
      requireSchemaManager(principal);
      readQuery(request, []);
      const [type, version] = readVersionPath(params);
      await registration.remove(type, version, "api", request.signal);
      return new Response(null, { status: 204 });
    },
    async upcast({ request, params }) {
      readQuery(request, []);
      const type = readTypeName(params.type);
      const input = await readUpcast(body, request);
      refuseOdd(input);
      const { versions } = await requireType(reads, type);
      const from = Number(input.from ?? 1);
      const to = Number(input.to ?? versions.length);
      if (from > to)
        throw invalidRequest([
          { path: "/to", message: `must not be lower than from, which is ${from}: nothing goes back` },
        ]);
      const missing = [from, to].find((version) => version > versions.length);
      if (missing !== undefined) throw schemaNotFound(type, missing);
      await registry.refresh();
      const result = await upcasting.convert(type, from, to, JSON.stringify(input.data));
      if ("failure" in result && result.passing) throw schemasUnavailable(result.failure);
      if ("failure" in result) throw upcastFailed(type, from, to, result.failure);
      const errors = await service.violations(await requireVersion(reads, type, to), result.data);
      return new Response(
        `{"type":${JSON.stringify(type)},"from":"${from}","to":"${to}","data":${result.data},"valid":${errors.length === 0},"errors":${JSON.stringify(errors)}}`,
        { headers: { "content-type": "application/json" } },
      );
    },
  };
}

/** Throws `malformed-body`: what the database cannot hold as JSON, or is nested too deeply to be worked with. */
function refuseOdd(input: Static<typeof SchemaVersionInput> | Static<typeof UpcastInput>): void {
  const walk = new JsonWalk(JSON.stringify(input, refuseInfinite));
  walk.value();
  if (walk.refusal !== null) throw malformedBody(`The body ${walk.refusal}`);
}

/** A number out of the range of doubles would silently become null. */
function refuseInfinite(_: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value))
    throw malformedBody("The body has a number that is too large");
  return value;
}
