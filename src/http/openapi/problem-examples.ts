// One example of each problem, made by the same functions that make the service's answers.
import {
  bodyTooLarge,
  catalogue,
  consumerNotFound,
  cursorBeyondHead,
  emptyAppend,
  eventIdConflict,
  eventNotFound,
  eventRemoved,
  forbidden,
  idempotencyKeyInUse,
  idempotencyKeyReused,
  internalError,
  invalidConfiguration,
  invalidEvent,
  invalidFilter,
  invalidParameter,
  invalidPlace,
  invalidRequest,
  invalidStreamName,
  invalidSubscriptionName,
  lockHeld,
  lockNotFound,
  malformedBody,
  notAQueue,
  outcomeUnknown,
  overloaded,
  Problem,
  type ProblemCode,
  problemObject,
  replayForbidden,
  shuttingDown,
  staleToken,
  storageUnavailable,
  streamNotFound,
  streamTypeFixed,
  subscriptionInUse,
  subscriptionNotFound,
  tooManyConsumers,
  wrongExpectedVersion,
} from "../../base/errors.ts";
import type { Example } from "./operation.ts";

const logId = "5b0d2a52-6c1f-4a3e-9d57-0f2f3a8f9c11";

const made: Record<ProblemCode, Problem> = {
  "malformed-body": malformedBody("The body is not JSON: Unexpected end of input"),
  "invalid-stream-name": invalidStreamName("my orders"),
  "invalid-subscription-name": invalidSubscriptionName("my workers"),
  "invalid-parameter": invalidParameter("limit", "limit is a number from 1 to 1000"),
  "invalid-place": invalidPlace(
    "from",
    "yesterday",
    "from is beginning, latest, a number, time: with an RFC 3339 time, or event: with an id",
  ),
  "invalid-filter": invalidFilter(
    "$.amount",
    "The path must be a predicate, such as $.amount > 100; use exists($.amount) to ask whether something is there",
  ),
  forbidden: forbidden("Reading stream orders is not allowed"),
  "replay-forbidden": replayForbidden("orders"),
  "not-found": new Problem("not-found", "There is no such resource; /docs shows what there is"),
  "stream-not-found": streamNotFound("orders"),
  "event-not-found": eventNotFound("orders", "99"),
  "subscription-not-found": subscriptionNotFound("billing"),
  "consumer-not-found": consumerNotFound("billing", "worker-1"),
  "lock-not-found": lockNotFound("invoice-7"),
  "lock-held": lockHeld("invoice-7", "worker-1", "2026-11-21T10:00:30.010Z", 12_345),
  "stale-token": staleToken("The token does not hold the lock invoice-7"),
  "not-a-queue": notAQueue("orders"),
  "subscription-in-use": subscriptionInUse("billing"),
  "too-many-consumers": tooManyConsumers("billing", 8),
  "method-not-allowed": new Problem("method-not-allowed", "The resource has POST, GET, HEAD", {
    allow: "POST, GET, HEAD",
  }),
  "not-acceptable": new Problem(
    "not-acceptable",
    "The resource can be had as application/json, application/cloudevents+json",
    { offers: ["application/json", "application/cloudevents+json"] },
  ),
  "request-timeout": new Problem("request-timeout", "The body did not arrive within 30000 ms"),
  "event-id-conflict": eventIdConflict("orders", ["order-1-placed"]),
  "idempotency-key-in-use": idempotencyKeyInUse("checkout-7-attempt"),
  "stream-type-fixed": streamTypeFixed("orders", "persistent"),
  "cursor-beyond-head": cursorBeyondHead("99", "17", logId),
  "event-removed": eventRemoved("orders", "3", "10"),
  "wrong-expected-version": wrongExpectedVersion("orders", "16", "17"),
  "body-too-large": bodyTooLarge(1_048_576),
  "uri-too-long": new Problem("uri-too-long", "A URL has at most 8192 characters"),
  "unsupported-media-type": new Problem(
    "unsupported-media-type",
    "Events are appended as application/json, application/cloudevents+json, application/cloudevents-batch+json, or with ce-* headers and any content",
  ),
  "invalid-event": invalidEvent([{ path: "/0/type", message: "expected string length greater or equal to 1" }]),
  "empty-append": emptyAppend(),
  "invalid-configuration": invalidConfiguration([
    { path: "/replay", message: "an ephemeral stream forgets what is settled: it cannot be replayed" },
  ]),
  "invalid-request": invalidRequest([
    { path: "/wait", message: "must be a duration such as 500ms, 30s or 5m, from 0ms to 60000ms" },
  ]),
  "idempotency-key-reused": idempotencyKeyReused("checkout-7-attempt"),
  "internal-error": internalError(null),
  overloaded: overloaded("Too many appends are waiting for the database"),
  "storage-unavailable": storageUnavailable("The database is not available; the request changed nothing"),
  "outcome-unknown": outcomeUnknown(),
  "shutting-down": shuttingDown(),
};

const instance = "urn:request:01a1fc6e-f0cc-7000-b502-76a1d4d9b361";

/** The examples of the problems, by code. */
export const problemExamples: Record<string, Example> = Object.fromEntries(
  Object.entries(made).map(([code, problem]) => [
    code,
    { summary: catalogue[code as ProblemCode].title, value: problemObject(problem, instance) },
  ]),
);
