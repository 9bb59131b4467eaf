// The documents of named locks.
import type { ProblemCode } from "../../base/errors.ts";
import { lockKey } from "../../subscription/exactly-once/locks.ts";
import { LockInput, ReleaseInput, RenewalInput } from "../locks.ts";
import { component, type Operation, problems, type ResponseObject, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const time = (description: string): Schema => ({ type: "string", format: "date-time", description });
const token: Schema = {
  type: "string",
  pattern: "^[0-9]{1,18}$",
  description:
    "The fencing token: it rises with each holder of the key, for ever. What the lock protects can refuse whoever comes with a lower one than it has seen",
};
const key = component("schemas", "LockKey");
const expiresAt = time("When it runs out, by the clock of the database");

/** The schemas of the components, by name. */
export const lockSchemas: Record<string, Schema> = {
  LockKey: {
    type: "string",
    pattern: lockKey.source,
    description:
      "1 to 512 characters without control characters, so that any id of an event fits, but not . or .. alone; percent-encoded in a path. Each principal has keys of its own",
    examples: ["invoice-7"],
  },
  Lock: {
    type: "object",
    properties: { key, token, expiresAt },
    required: ["key", "token", "expiresAt"],
  },
  HeldLock: {
    type: "object",
    properties: {
      key,
      token,
      owner: { type: ["string", "null"], description: "Who holds it, as it said" },
      acquiredAt: time("Since when"),
      expiresAt,
    },
    required: ["key", "token", "owner", "acquiredAt", "expiresAt"],
  },
};

const refusals = ["uri-too-long", "invalid-parameter", ...serviceFailures] as const satisfies ProblemCode[];
const ofBodies = [
  "malformed-body",
  "request-timeout",
  "body-too-large",
  "unsupported-media-type",
  "invalid-request",
  "outcome-unknown",
] as const satisfies ProblemCode[];

const answer = (description: string, schema: string, value: unknown): ResponseObject => ({
  description,
  content: { "application/json": { schema: component("schemas", schema), examples: { lock: { value } } } },
});
const taken = { key: "invoice-7", token: "42", expiresAt: "2026-11-21T10:00:30.010Z" };

export const acquireLock: Operation = {
  operationId: "acquireLock",
  summary: "Take a lock",
  description:
    "Takes the lock if nobody holds it, or as soon as that is so within `wait`; who waits at the same process gets it in the order of asking. A second request of the holder is refused as anybody's: the holder goes on with PUT and its token.",
  tags: ["Locks"],
  requestBody: {
    required: true,
    description: "Read as JSON, whatever the content type says.",
    content: {
      "application/json": {
        schema: LockInput,
        examples: { request: { value: { key: "invoice-7", ttl: "30s", owner: "worker-1", wait: "10s" } } },
      },
    },
  },
  responses: {
    "201": answer("It is yours.", "Lock", taken),
    ...problems(...refusals, ...ofBodies, "lock-held", "shutting-down"),
  },
};

export const getLock: Operation = {
  operationId: "getLock",
  summary: "Who holds a lock",
  description: "The lock as it is held now.",
  tags: ["Locks"],
  parameters: use("LockKey"),
  responses: {
    "200": answer("It is held.", "HeldLock", { ...taken, owner: "worker-1", acquiredAt: "2026-11-21T10:00:00.010Z" }),
    ...problems(...refusals, "lock-not-found"),
  },
};

export const renewLock: Operation = {
  operationId: "renewLock",
  summary: "Hold a lock for longer",
  description: "It runs out `ttl` from now. Only its holder can do so, and only before it has run out.",
  tags: ["Locks"],
  parameters: use("LockKey"),
  requestBody: {
    required: true,
    description: "Read as JSON, whatever the content type says.",
    content: {
      "application/json": { schema: RenewalInput, examples: { request: { value: { token: "42", ttl: "30s" } } } },
    },
  },
  responses: {
    "200": answer("It is still yours.", "Lock", taken),
    ...problems(...refusals, ...ofBodies, "stale-token"),
  },
};

export const releaseLock: Operation = {
  operationId: "releaseLock",
  summary: "Release a lock",
  description: "Whoever waits for it gets it at once. The token is given in the body or as a parameter.",
  tags: ["Locks"],
  parameters: use("LockKey", "LockTokenQuery"),
  requestBody: {
    required: false,
    description: "Read as JSON, whatever the content type says.",
    content: { "application/json": { schema: ReleaseInput, examples: { request: { value: { token: "42" } } } } },
  },
  responses: {
    "204": { description: "It is free; also when the same token had released it before." },
    ...problems(...refusals, ...ofBodies, "stale-token"),
  },
};
