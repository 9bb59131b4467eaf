// /api/locks and /api/locks/{key}: named locks, taken, renewed and released by their fencing tokens.
import { Type } from "@sinclair/typebox";
import { invalidParameter, invalidRequest, lockHeld, lockNotFound, staleToken } from "../base/errors.ts";
import { saying } from "../base/schema.ts";
import { type Locks, lockKey } from "../subscription/exactly-once/locks.ts";
import type { BodyReader } from "./body.ts";
import { type Handler, json } from "./context.ts";
import { createJsonReader, durationOf } from "./json-body.ts";
import { readQuery } from "./parameters.ts";

export type LocksDependencies = { locks: Pick<Locks, "acquire" | "renew" | "release" | "find">; body: BodyReader };

export type LocksHandlers = { acquire: Handler; get: Handler; renew: Handler; release: Handler };

const minTtlMs = 100;
const maxTtlMs = 24 * 3_600_000;
const maxWaitMs = 30_000;
const keyWords = "must be 1 to 512 characters, none of them a control character, and not . or ..";
const tokenPattern = /^[0-9]{1,18}$/;

const Ttl = Type.String({ description: "How long it is held if nothing else happens, 100ms to 24h" });
const Token = Type.String({
  pattern: tokenPattern.source,
  description: "The fencing token",
  ...saying("must be a fencing token, such as 42"),
});

export const LockInput = Type.Object(
  {
    key: Type.String({ pattern: lockKey.source, description: "What is locked", ...saying(keyWords) }),
    ttl: Ttl,
    owner: Type.Optional(
      Type.String({
        // No control characters: the database takes no U+0000.
        pattern: "^[^\\u0000-\\u001f\\u007f]{1,200}$",
        description: "Who holds it, for people: it decides nothing",
        ...saying("must be 1 to 200 characters, none of them a control character"),
      }),
    ),
    wait: Type.Optional(
      Type.String({ default: "0s", description: "How long to wait while somebody else holds it, at most 30s" }),
    ),
  },
  { additionalProperties: false },
);

export const RenewalInput = Type.Object({ token: Token, ttl: Ttl }, { additionalProperties: false });

export const ReleaseInput = Type.Object({ token: Type.Optional(Token) }, { additionalProperties: false });

const readLock = createJsonReader(LockInput);
const readRenewal = createJsonReader(RenewalInput);
const readRelease = createJsonReader(ReleaseInput);

export function locksHandlers({ locks, body }: LocksDependencies): LocksHandlers {
  return {
    async acquire({ request, principal }) {
      readQuery(request, []);
      const input = await readLock(body, request);
      const { key } = input;
      const outcome = await locks.acquire({
        principal: principal.name,
        key,
        owner: input.owner ?? null,
        ttlMs: durationOf("/ttl", input.ttl, minTtlMs, maxTtlMs),
        waitMs: durationOf("/wait", input.wait ?? "0s", 0, maxWaitMs),
        signal: request.signal,
      });
      if (!outcome.acquired) throw lockHeld(key, outcome.owner, outcome.expiresAt, outcome.leftMs);
      return json({ key, token: outcome.token, expiresAt: outcome.expiresAt }, 201);
    },
    async get({ request, params, principal }) {
      readQuery(request, []);
      const key = readKey(params.key ?? "");
      const held = await locks.find(principal.name, key);
      if (held === null) throw lockNotFound(key);
      return json(held);
    },
    async renew({ request, params, principal }) {
      readQuery(request, []);
      const key = readKey(params.key ?? "");
      const { token, ttl } = await readRenewal(body, request);
      const ttlMs = durationOf("/ttl", ttl, minTtlMs, maxTtlMs);
      const expiresAt = await locks.renew(principal.name, key, token, ttlMs);
      if (expiresAt === null) throw notHolding(key);
      return json({ key, token, expiresAt });
    },
    async release({ request, params, principal }) {
      const query = readQuery(request, ["token"]);
      const key = readKey(params.key ?? "");
      const given = query.get("token");
      if (given !== null && !tokenPattern.test(given))
        throw invalidParameter("token", "token is a fencing token, such as 42");
      const token = given ?? (await readRelease(body, request)).token;
      if (token === undefined)
        throw invalidRequest([{ path: "/token", message: "must be given, here or as the parameter token" }]);
      if (!(await locks.release(principal.name, key, token))) throw notHolding(key);
      return new Response(null, { status: 204 });
    },
  };
}

const notHolding = (key: string) => staleToken(`The token does not hold the lock ${key}`);

/** Throws `invalid-parameter`. */
function readKey(key: string): string {
  if (!lockKey.test(key)) throw invalidParameter("key", `The key of a lock ${keyWords}`);
  return key;
}
