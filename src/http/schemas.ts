// /api/schemas: registers, lists, serves and deletes versions of event types, and previews upcasting.
import { type Static, Type } from "@sinclair/typebox";
import {
  forbidden,
  invalidParameter,
  invalidRequest,
  malformedBody,
  schemaNotFound,
  upcastFailed,
} from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Principal } from "../base/principal.ts";
import { oneOf } from "../base/schema.ts";
import type { Pool } from "../storage/pool.ts";
import { JsonWalk } from "../stream/json-text.ts";
import type { Registration } from "../stream/schema/registration.ts";
import type { Registry } from "../stream/schema/registry.ts";
import { listTypes, readHistory, readType, readVersion } from "../stream/schema/registry-tables.ts";
import type { SchemaService } from "../stream/schema/schema-service.ts";
import {
  compatibilities,
  isEventType,
  maxDescriptionLength,
  maxExpressionLength,
  maxVersion,
  type SchemaVersion,
} from "../stream/schema/schema-version.ts";
import { readVersionNumber } from "../stream/schema/target.ts";
import type { Upcasting } from "../stream/schema/upcasting.ts";
import { negotiate } from "./accept.ts";
import type { BodyReader } from "./body.ts";
import { type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readBoolean, readNumber, readQuery, readText } from "./parameters.ts";

export type SchemasDependencies = {
  registration: Registration;
  registry: Registry;
  upcasting: Pick<Upcasting, "convert">;
  service: SchemaService;
  reads: Pool;
  body: BodyReader;
  log: Log;
};

export type SchemasHandlers = {
  list: Handler;
  get: Handler;
  put: Handler;
  history: Handler;
  getVersion: Handler;
  putVersion: Handler;
  removeVersion: Handler;
  upcast: Handler;
};

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

export const SchemaTypeInput = Type.Object(
  {
    compatibility: oneOf(compatibilities, {
      description:
        "What each new version must hold to. backward: it reads what the version before wrote, as its upcaster leaves it; forward: the version before reads what it writes; full: both",
    }),
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
const readTypeInput = createJsonReader(SchemaTypeInput);
const readUpcast = createJsonReader(UpcastInput);

const scope = "sluice.schemas";

export function schemasHandlers(dependencies: SchemasDependencies): SchemasHandlers {
  const { registration, registry, upcasting, service, reads, body } = dependencies;

  const manage = (principal: Principal) => {
    if (!principal.canManage(scope)) throw forbidden("Managing schemas is not allowed");
  };

  async function requireType(type: string) {
    const found = await reads.run((sql) => readType(sql, type));
    if (found === null || found.versions.length === 0) throw schemaNotFound(type, null);
    return found;
  }

  async function requireVersion(type: string, version: number) {
    const found = await reads.run((sql) => readVersion(sql, type, version));
    if (found === null) {
      await requireType(type);
      throw schemaNotFound(type, version);
    }
    return found;
  }

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
      const { compatibility, versions } = await requireType(type);
      return json({ type, compatibility, versions: versions.map(describe) });
    },
    async put({ request, params, principal }) {
      manage(principal);
      readQuery(request, []);
      const type = readTypeName(params.type);
      const { compatibility } = await readTypeInput(body, request);
      await registration.configure(type, compatibility, "api");
      const found = await reads.run((sql) => readType(sql, type));
      return json({ type, compatibility, versions: (found?.versions ?? []).map(describe) });
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
    async getVersion({ request, params }) {
      const query = readQuery(request, ["as"]);
      const [type, version] = readPath(params);
      const as = query.get("as");
      if (as !== null && as !== "typescript") throw invalidParameter("as", "as is typescript");
      const found = await requireVersion(type, version);
      if (as === "typescript")
        return new Response(await service.typescript(found), {
          headers: { "content-type": "application/typescript; charset=utf-8" },
        });
      const form = negotiate(request.headers.get("accept"), ["application/json", "application/schema+json"]);
      if (form === "application/schema+json") return new Response(found.schema, { headers: { "content-type": form } });
      return new Response(printVersion(found), { headers: { "content-type": form } });
    },
    async putVersion({ request, params, principal }) {
      manage(principal);
      const dryRun = readBoolean(readQuery(request, ["dryRun"]), "dryRun");
      const [type, version] = readPath(params);
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
      return new Response(printVersion(await requireVersion(type, version)), {
        status: registered.outcome === "created" ? 201 : 200,
        headers: { "content-type": "application/json" },
      });
    },
    async removeVersion({ request, params, principal }) {
      manage(principal);
      readQuery(request, []);
      const [type, version] = readPath(params);
      await registration.remove(type, version, "api", request.signal);
      return new Response(null, { status: 204 });
    },
    async upcast({ request, params }) {
      readQuery(request, []);
      const type = readTypeName(params.type);
      const input = await readUpcast(body, request);
      refuseOdd(input);
      const { versions } = await requireType(type);
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
      if ("failure" in result) throw upcastFailed(type, from, to, result.failure);
      const errors = await service.violations(await requireVersion(type, to), result.data);
      return new Response(
        `{"type":${JSON.stringify(type)},"from":"${from}","to":"${to}","data":${result.data},"valid":${errors.length === 0},"errors":${JSON.stringify(errors)}}`,
        { headers: { "content-type": "application/json" } },
      );
    },
  };

  async function upcastInCode(type: string, version: number): Promise<"keep" | null> {
    const present = await reads.run((sql) => readVersion(sql, type, version));
    return present?.upcast?.language === "code" ? "keep" : null;
  }
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

/** A name, or the beginning of one; an empty one is none. */
function readName(query: URLSearchParams, parameter: string): string {
  return query.get(parameter) === "" ? "" : (readText(query, parameter) ?? "");
}

function readTypeName(text: string | undefined): string {
  const type = text ?? "";
  if (!isEventType(type))
    throw invalidParameter(
      "type",
      "a type has 1 to 256 characters without control characters, and does not begin with sluice.",
    );
  return type;
}

function readPath(params: Record<string, string>): [type: string, version: number] {
  const version = readVersionNumber(params.version ?? "");
  if (version === null) throw invalidParameter("version", `a version is a whole number from 1 to ${maxVersion}`);
  return [readTypeName(params.type), version];
}

/** A version as the API shows it. */
export type SchemaVersionDescription = Omit<SchemaVersion, "type" | "version" | "readsPrevious"> & { version: string };

function describe({
  version,
  description,
  upcast,
  registeredAt,
  registeredBy,
}: SchemaVersion): SchemaVersionDescription {
  return { version: String(version), description, upcast, registeredAt, registeredBy };
}

function printVersion(found: SchemaVersion & { schema: string }): string {
  const { version, ...rest } = describe(found);
  return `{"type":${JSON.stringify(found.type)},"version":"${version}","schema":${found.schema},${JSON.stringify(rest).slice(1)}`;
}
