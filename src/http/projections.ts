// /api/projections and /api/projections/{name}: read models, how they stand, and what people decide about them.
import { Type } from "@sinclair/typebox";
import { parseDuration } from "../base/duration.ts";
import {
  forbidden,
  invalidParameter,
  noProjectionSnapshot,
  projectionAttended,
  projectionBehind,
  projectionNotFailed,
  projectionNotFound,
  projectionNotReady,
  projectionRebuilding,
  projectionRowNotFound,
} from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Principal } from "../base/principal.ts";
import { oneOf, saying } from "../base/schema.ts";
import type { Answered, Projections, Unanswered } from "../workflow/projections/projections.ts";
import type { ProjectionStatus } from "../workflow/projections/status.ts";
import type { BodyReader } from "./body.ts";
import { type Exchange, type Handler, json } from "./context.ts";
import { createJsonReader } from "./json-body.ts";
import { readNumber, readQuery } from "./parameters.ts";

export type ProjectionsDependencies = {
  projections: Pick<Projections, "models" | "describe" | "list" | "manage" | "reach">;
  body: BodyReader;
  log: Log;
};

export type ProjectionsHandlers = {
  list: Handler;
  get: Handler;
  status: Handler;
  pause: Handler;
  resume: Handler;
  skip: Handler;
  rebuild: Handler;
  snapshot: Handler;
  remove: Handler;
};

export const projectionName = /^[a-z][a-z0-9-]{0,62}$/;

export const SkipInput = Type.Object(
  {
    position: Type.String({
      pattern: "^[0-9]{1,16}$",
      description: "The position of the event that fails, as the status says it",
      ...saying("must be a position as a string, such as 1042"),
    }),
  },
  { additionalProperties: false },
);

export const RebuildInput = Type.Object(
  {
    from: Type.Optional(
      oneOf(["beginning", "snapshot"], {
        default: "beginning",
        description:
          "beginning: of all events that are still in the log. snapshot: of the newest snapshot and the events behind it",
      }),
    ),
  },
  { additionalProperties: false },
);

/** Parameters of every read model. */
const waiting = ["atLeast", "wait"];
const maxWaitMs = 60_000;

const readSkip = createJsonReader(SkipInput);
const readRebuild = createJsonReader(RebuildInput);
const readNothing = createJsonReader(Type.Object({}, { additionalProperties: false }));

export function projectionsHandlers({ projections, body, log }: ProjectionsDependencies): ProjectionsHandlers {
  const { models, manage } = projections;

  /** How it stands. Throws `projection-not-found`. */
  async function visible(principal: Principal, given: string | undefined): Promise<ProjectionStatus> {
    const name = given ?? "";
    const found = projectionName.test(name) ? await projections.describe(name) : null;
    if (found === null || !sees(principal, found)) throw projectionNotFound(name.slice(0, 100));
    return found;
  }

  /** Throws also `forbidden`. */
  async function manageable({ principal, params }: Exchange): Promise<string> {
    const { name, streams } = await visible(principal, params.name);
    const refused = streams?.find((stream) => !principal.canManage(stream));
    if (refused !== undefined) throw forbidden(`Managing projections of stream ${refused} is not allowed`);
    return name;
  }

  /** A handler that decides something, and answers how the projection stands then. */
  function deciding(status: number, said: string, decide: (name: string, request: Request) => Promise<void>): Handler {
    return async (exchange) => {
      readQuery(exchange.request, []);
      const name = await manageable(exchange);
      await decide(name, exchange.request);
      log.info({ requestId: exchange.requestId(), projection: name }, said);
      return json(await visible(exchange.principal, name), status);
    };
  }

  /** Waits until it is as far as the query says. Throws `projection-behind`, `cursor-beyond-head`, `invalid-parameter`. */
  async function reach({ name, state, position }: ProjectionStatus, query: URLSearchParams, signal: AbortSignal) {
    const text = query.get("atLeast");
    if (text === null) {
      if (query.has("wait")) throw invalidParameter("wait", "wait belongs to atLeast");
      return;
    }
    if (!/^\d{1,16}$/.test(text)) throw invalidParameter("atLeast", "atLeast is a position, such as 1042");
    const waitMs = parseDuration(query.get("wait") ?? "5s");
    if (waitMs === null || waitMs > maxWaitMs)
      throw invalidParameter("wait", "wait is a duration of at most 60s, such as 5s");
    if (Number(position) >= Number(text)) return;
    // It does not move by itself.
    const stands = state === "paused" || state === "failed";
    if (await projections.reach(name, Number(text), stands ? 0 : waitMs, signal)) return;
    const now = (await projections.describe(name)) ?? { position, state };
    throw projectionBehind(name, text, now.position, now.state);
  }

  return {
    async list({ request, principal }) {
      const query = readQuery(request, ["after", "limit"]);
      const limit = readNumber(query, "limit", 100, 1_000);
      const after = query.get("after") ?? "";
      if (after !== "" && !projectionName.test(after))
        throw invalidParameter("after", "after is the name of a projection");
      const found = await projections.list(after, limit + 1);
      const shown = found.slice(0, limit);
      const following = new URLSearchParams(query);
      following.set("after", shown.at(-1)?.name ?? "");
      return json({
        projections: shown.filter((status) => sees(principal, status)),
        next: found.length > limit ? `/api/projections?${following}` : null,
      });
    },
    async get({ request, params, principal }) {
      const found = await visible(principal, params.name);
      const { name } = found;
      const own = models.parameters(name);
      if (own !== null) {
        // Where the module has a parameter of that name, it means what the module says.
        const ours = own.includes("atLeast") || own.includes("wait") ? [] : waiting;
        const query = readQuery(request, [...own, ...ours]);
        if (ours.length > 0) await reach(found, query, request.signal);
        for (const parameter of ours) query.delete(parameter);
        const answered = await models.answer(name, query, request.signal);
        return answer(name, answered, (body) => body);
      }
      const query = readQuery(request, ["key", "after", "limit", ...waiting]);
      await reach(found, query, request.signal);
      for (const parameter of waiting) query.delete(parameter);
      const limit = readNumber(query, "limit", 100, 1_000);
      const [key, after] = [query.get("key"), query.get("after")];
      if (key !== null)
        return answer(name, await models.row(name, key, request.signal), (row, position) => ({
          projection: name,
          position,
          row,
        }));
      return answer(name, await models.page(name, after, limit, request.signal), (page, position) => {
        if ("views" in page) return { projection: name, position, views: page.views };
        const following = new URLSearchParams(query);
        following.set("after", page.next ?? "");
        const next = page.next === null ? null : `/api/projections/${name}?${following}`;
        return { projection: name, position, rows: page.rows, next };
      });
    },
    async status({ request, params, principal }) {
      readQuery(request, []);
      return json(await visible(principal, params.name));
    },
    pause: deciding(200, "projection paused", async (name, request) => {
      await readNothing(body, request);
      await manage.pause(name);
    }),
    resume: deciding(200, "projection resumed", async (name, request) => {
      await readNothing(body, request);
      await manage.resume(name);
    }),
    skip: deciding(200, "projection told to do without an event", async (name, request) => {
      const { position } = await readSkip(body, request);
      if (!(await manage.skip(name, Number(position)))) throw projectionNotFailed(name, position);
    }),
    rebuild: deciding(202, "projection told to be built anew", async (name, request) => {
      const { from = "beginning" } = await readRebuild(body, request);
      const outcome = await manage.rebuild(name, from);
      if (outcome === "not-found") throw projectionNotFound(name);
      if (outcome === "building") throw projectionRebuilding(name);
      if (outcome === "no-snapshot") throw noProjectionSnapshot(name);
    }),
    snapshot: deciding(202, "projection told to take a snapshot", async (name, request) => {
      await readNothing(body, request);
      await manage.snapshot(name);
    }),
    async remove(exchange) {
      readQuery(exchange.request, []);
      const name = await manageable(exchange);
      if (!(await manage.remove(name))) throw projectionAttended(name);
      log.info({ requestId: exchange.requestId(), projection: name }, "projection removed");
      return new Response(null, { status: 204 });
    },
  };
}

function sees(principal: Principal, { streams }: ProjectionStatus): boolean {
  return streams === null || streams.every((stream) => principal.canRead(stream));
}

function answer<Body>(
  name: string,
  answered: Answered<Body> | Unanswered,
  shape: (body: Body, position: string) => unknown,
): Response {
  if ("unanswered" in answered) throw problemOf(name, answered);
  const position = String(answered.position);
  return json(shape(answered.body, position), 200, { "projection-position": position });
}

function problemOf(name: string, unanswered: Unanswered) {
  switch (unanswered.unanswered) {
    case "invalid":
      return invalidParameter(unanswered.parameter, unanswered.detail);
    case "not-found":
      return projectionNotFound(name);
    case "no-row":
      return projectionRowNotFound(name);
    case "not-ready":
      return projectionNotReady(name);
    default:
      return unanswered satisfies never;
  }
}
