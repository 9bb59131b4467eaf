// The closed catalogue of everything that can go wrong for a client: code, HTTP status, and whether trying again helps.

export const catalogue = {
  "malformed-body": { status: 400, title: "The body cannot be read", retryable: false },
  "invalid-stream-name": { status: 400, title: "Not a stream name", retryable: false },
  "invalid-subscription-name": { status: 400, title: "Not a subscription name", retryable: false },
  "invalid-parameter": { status: 400, title: "A parameter or header is not valid", retryable: false },
  "invalid-place": { status: 400, title: "Not a place in a stream", retryable: false },
  "invalid-filter": { status: 400, title: "The filter is not a JSON path predicate", retryable: false },
  forbidden: { status: 403, title: "Not allowed", retryable: false },
  "replay-forbidden": { status: 403, title: "The stream's configuration forbids replay", retryable: false },
  "not-found": { status: 404, title: "There is nothing here", retryable: false },
  "stream-not-found": { status: 404, title: "The stream does not exist", retryable: false },
  "event-not-found": { status: 404, title: "The event does not exist", retryable: false },
  "subscription-not-found": { status: 404, title: "The subscription does not exist", retryable: false },
  "consumer-not-found": { status: 404, title: "The subscription has no such consumer", retryable: false },
  "live-connection-not-found": { status: 404, title: "The live connection does not exist", retryable: false },
  "not-processed": { status: 404, title: "The event is not processed", retryable: true },
  "lock-not-found": { status: 404, title: "Nobody holds the lock", retryable: false },
  "schema-not-found": { status: 404, title: "There is no such schema", retryable: false },
  "command-not-found": { status: 404, title: "There is no such command", retryable: false },
  "snapshot-not-found": { status: 404, title: "The stream has no snapshot", retryable: false },
  "saga-not-found": { status: 404, title: "There is no such saga", retryable: false },
  "projection-not-found": { status: 404, title: "There is no such projection", retryable: false },
  "projection-row-not-found": { status: 404, title: "The projection has no such row", retryable: false },
  "remote-stream-not-found": { status: 404, title: "There is no such remote stream", retryable: false },
  "dead-letter-not-found": { status: 404, title: "There is no such dead letter", retryable: false },
  "method-not-allowed": { status: 405, title: "The resource has no such method", retryable: false },
  "not-acceptable": { status: 406, title: "None of the accepted media types can be served", retryable: false },
  "request-timeout": { status: 408, title: "The body did not arrive in time", retryable: true },
  "event-id-conflict": { status: 409, title: "The event id is taken by other content", retryable: false },
  "idempotency-key-in-use": { status: 409, title: "A request with this key is still running", retryable: true },
  "stream-type-fixed": { status: 409, title: "The type of a stream cannot change", retryable: false },
  "delivery-in-use": { status: 409, title: "A subscription of the stream promises more", retryable: false },
  "nats-name-taken": { status: 409, title: "The name in NATS is taken", retryable: false },
  "cursor-beyond-head": { status: 409, title: "The cursor lies beyond the head", retryable: false },
  "not-a-queue": { status: 409, title: "The stream is not a queue", retryable: false },
  "subscription-in-use": { status: 409, title: "The subscription has consumers", retryable: true },
  "too-many-consumers": { status: 409, title: "The subscription has as many consumers as it allows", retryable: true },
  "no-receipts": { status: 409, title: "The subscription keeps no read receipts", retryable: false },
  "lock-held": { status: 409, title: "The lock is held", retryable: true },
  "stale-token": { status: 409, title: "The token does not hold any more", retryable: false },
  "already-processed": { status: 409, title: "The event is processed already", retryable: false },
  "cursor-elsewhere": { status: 409, title: "The cursor is not reset here", retryable: false },
  "schema-conflict": { status: 409, title: "The version has another schema", retryable: false },
  "schema-version-gap": { status: 409, title: "The version is not the next one", retryable: false },
  "incompatible-schema": { status: 409, title: "The schema is not compatible", retryable: false },
  "schema-in-use": { status: 409, title: "The schema is in use", retryable: false },
  "command-rejected": { status: 409, title: "The command is refused", retryable: false },
  "snapshot-outdated": { status: 409, title: "There is a newer snapshot", retryable: false },
  "command-conflict": { status: 409, title: "Others were faster each time", retryable: true },
  "saga-ended": { status: 409, title: "The saga has ended", retryable: false },
  "saga-misfit": { status: 409, title: "The saga belongs to another version", retryable: false },
  "saga-not-failed": { status: 409, title: "The saga has not failed", retryable: false },
  "projection-not-failed": { status: 409, title: "The projection does not fail there", retryable: false },
  "projection-rebuilding": { status: 409, title: "The projection is being built anew", retryable: true },
  "projection-attended": { status: 409, title: "The projection is run", retryable: true },
  "no-projection-snapshot": { status: 409, title: "The projection has no snapshot", retryable: false },
  "event-removed": { status: 410, title: "The event has been removed", retryable: false },
  "wrong-expected-version": { status: 412, title: "Wrong expected version", retryable: false },
  "body-too-large": { status: 413, title: "The body is too large", retryable: false },
  "uri-too-long": { status: 414, title: "The URL is too long", retryable: false },
  "unsupported-media-type": { status: 415, title: "The body's media type is not supported", retryable: false },
  "invalid-event": { status: 422, title: "The event is not valid", retryable: false },
  "empty-append": { status: 422, title: "There is nothing to append", retryable: false },
  "invalid-configuration": { status: 422, title: "The configuration is not valid", retryable: false },
  "invalid-schema": { status: 422, title: "The schema cannot be kept", retryable: false },
  "schema-mismatch": { status: 422, title: "The event does not match its schema", retryable: false },
  "upcast-failed": { status: 422, title: "The data cannot be upcast", retryable: false },
  "invalid-request": { status: 422, title: "The body is not valid", retryable: false },
  "idempotency-key-reused": { status: 422, title: "The key was used for another request", retryable: false },
  "command-failed": { status: 500, title: "The command failed", retryable: false },
  "state-not-rebuilt": { status: 500, title: "The state cannot be rebuilt", retryable: false },
  "internal-error": { status: 500, title: "The service failed", retryable: true },
  overloaded: { status: 503, title: "The service is overloaded", retryable: true },
  "storage-unavailable": { status: 503, title: "The database is not available", retryable: true },
  "schemas-unavailable": { status: 503, title: "Schemas cannot be evaluated now", retryable: true },
  "projection-behind": { status: 503, title: "The projection is not that far", retryable: true },
  "projection-not-ready": { status: 503, title: "The projection cannot answer yet", retryable: true },
  "outcome-unknown": { status: 503, title: "The outcome of the request is not known", retryable: true },
  "shutting-down": { status: 503, title: "The service is shutting down", retryable: true },
} as const satisfies Record<string, { status: number; title: string; retryable: boolean }>;

export type ProblemCode = keyof typeof catalogue;

/** One place in a body or a parameter that is not as it must be: a JSON Pointer (RFC 6901) and what is wrong there. */
export type Violation = { path: string; message: string };

/** An error of the catalogue; becomes `application/problem+json` (RFC 9457) at the edge. */
export class Problem extends Error {
  readonly code: ProblemCode;
  /** Members that help the client, besides those of RFC 9457. */
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(code: ProblemCode, detail: string, fields: Record<string, unknown> = {}, cause?: unknown) {
    super(detail, cause === undefined ? undefined : { cause });
    this.name = "Problem";
    this.code = code;
    this.fields = fields;
  }

  get status(): number {
    return catalogue[this.code].status;
  }

  get retryable(): boolean {
    return catalogue[this.code].retryable;
  }
}

/** The object that a client reads; no stack and no SQL is in it. */
export function problemObject(problem: Problem, instance: string): Record<string, unknown> {
  const { title, status, retryable } = catalogue[problem.code];
  return {
    type: `/problems/${problem.code}`,
    title,
    status,
    detail: problem.message,
    instance,
    retryable,
    ...problem.fields,
  };
}

export const malformedBody = (detail: string) => new Problem("malformed-body", detail);
export const invalidStreamName = (name: string) =>
  new Problem(
    "invalid-stream-name",
    "A stream name has 1 to 200 characters of A-Z a-z 0-9 . _ - : and is not . or ..",
    {
      stream: name.slice(0, 250),
    },
  );
export const invalidParameter = (parameter: string, detail: string) =>
  new Problem("invalid-parameter", detail, { parameter });
export const invalidPlace = (parameter: string, place: string, detail: string) =>
  new Problem("invalid-place", detail, { parameter, place: place.slice(0, 300) });
export const invalidFilter = (path: string, detail: string) =>
  new Problem("invalid-filter", detail, { parameter: "where", where: path.slice(0, 1000) });
// The answer stays small, however much is wrong with a body.
const maxViolations = 20;
const invalid = (
  code: "invalid-event" | "invalid-configuration" | "invalid-request" | "invalid-schema" | "schema-mismatch",
  violations: readonly Violation[],
) => {
  const errors = violations
    .slice(0, maxViolations)
    .map(({ path, message }) => ({ path: path.slice(0, 200).toWellFormed(), message }));
  return new Problem(code, errors.map((v) => `${v.path || "/"}: ${v.message}`).join("; "), { errors });
};
export const invalidEvent = (violations: Violation[]) => invalid("invalid-event", violations);
export const invalidConfiguration = (violations: Violation[]) => invalid("invalid-configuration", violations);
export const invalidSchema = (violations: readonly Violation[]) => invalid("invalid-schema", violations);
export const schemaMismatch = (violations: readonly Violation[]) => invalid("schema-mismatch", violations);
export const schemaNotFound = (eventType: string, version: number | null) =>
  new Problem(
    "schema-not-found",
    version === null ? `There is no schema of ${eventType}` : `${eventType} has no version ${version}`,
    version === null ? { eventType } : { eventType, version: String(version) },
  );
/** What is at one place of a schema, and what was given. */
export type SchemaChange = { path: string; was: unknown; is: unknown };
export const schemaConflict = (eventType: string, version: number, changes: readonly SchemaChange[]) =>
  new Problem(
    "schema-conflict",
    `Version ${version} of ${eventType} has another schema, and stays so: give the new one the next version`,
    { eventType, version: String(version), changes },
  );
export const schemaVersionGap = (eventType: string, version: number, next: number) =>
  new Problem("schema-version-gap", `The next version of ${eventType} is ${next}, not ${version}`, {
    eventType,
    version: String(version),
    next: String(next),
  });
export const incompatibleSchema = (
  eventType: string,
  version: number,
  compatibility: string,
  differences: readonly { direction: string; path: string; message: string }[],
) =>
  new Problem(
    "incompatible-schema",
    `Version ${version} of ${eventType} is not ${compatibility} compatible with the one before: ${differences
      .slice(0, 5)
      .map(({ path, message }) => `${path || "/"} ${message}`)
      .join("; ")}`,
    { eventType, version: String(version), compatibility, differences },
  );
export const schemaInUse = (eventType: string, version: number, why: string) =>
  new Problem("schema-in-use", `Version ${version} of ${eventType} cannot be deleted: ${why}`, {
    eventType,
    version: String(version),
  });
export const upcastFailed = (eventType: string, from: number, to: number, why: string) =>
  new Problem("upcast-failed", `Data of ${eventType} version ${from} cannot be brought to version ${to}: ${why}`, {
    eventType,
    from: String(from),
    to: String(to),
  });
export const streamTypeFixed = (stream: string, type: string) =>
  new Problem("stream-type-fixed", `Stream ${stream} is ${type}, and stays so until it is deleted`, {
    stream,
    streamType: type,
  });
/** `subscriptions`: some of those that promise more. */
export const deliveryInUse = (stream: string, delivery: string, subscriptions: string[]) =>
  new Problem(
    "delivery-in-use",
    `Stream ${stream} cannot become ${delivery}: ${subscriptions.slice(0, 3).join(", ")}${subscriptions.length > 3 ? " and others" : ""} would promise more than it`,
    { stream, delivery, subscriptions },
  );
/** `holder`: the stream that has it. */
export const natsNameTaken = (stream: string, names: { stream: string; subject: string }, holder: string) =>
  new Problem(
    "nats-name-taken",
    `Stream ${stream} would be ${names.stream} in NATS with the subjects ${names.subject}: ${holder} has one of them; give one of the two another nats.stream and nats.subject`,
    { stream, natsStream: names.stream, natsSubject: names.subject, holder },
  );
export const invalidRequest = (violations: Violation[]) => invalid("invalid-request", violations);
export const commandNotFound = (command: string) =>
  new Problem(
    "command-not-found",
    `There is no command ${command.slice(0, 100)}; GET /api/commands lists what there is`,
    {
      command: command.slice(0, 100),
    },
  );
/** `details`: what its handler gave besides the reason. */
export const commandRejected = (command: string, reason: string, details: Readonly<Record<string, unknown>>) =>
  new Problem("command-rejected", reason, { command, details });
/** `why` begins with "it" or "its". */
export const commandFailed = (command: string, why: string, cause: unknown, errors: readonly Violation[] = []) =>
  new Problem(
    "command-failed",
    `The command ${command} failed, and nothing was stored: ${why}`,
    { command, ...(errors.length > 0 && { errors: errors.slice(0, maxViolations) }) },
    cause,
  );
export const emptyAppend = () => new Problem("empty-append", "The array of events is empty");
export const streamNotFound = (stream: string) =>
  new Problem("stream-not-found", `Stream ${stream} does not exist`, { stream });
export const invalidSubscriptionName = (name: string) =>
  new Problem(
    "invalid-subscription-name",
    "A subscription name has 1 to 200 characters of A-Z a-z 0-9 . _ - : and is not . or ..",
    { subscription: name.slice(0, 250) },
  );
export const subscriptionNotFound = (subscription: string) =>
  new Problem("subscription-not-found", `Subscription ${subscription} does not exist`, { subscription });
export const consumerNotFound = (subscription: string, consumer: string) =>
  new Problem("consumer-not-found", `Subscription ${subscription} has no consumer ${consumer}`, {
    subscription,
    consumer,
  });
export const liveConnectionNotFound = (id: string) =>
  new Problem("live-connection-not-found", `There is no live connection ${id}, or nothing of that flows on it`, {
    live: id,
  });
export const notAQueue = (stream: string) =>
  new Problem(
    "not-a-queue",
    `Stream ${stream} is persistent: only an ephemeral stream is a queue; make a subscription for it`,
    { stream },
  );
export const subscriptionInUse = (subscription: string) =>
  new Problem("subscription-in-use", `The mode of subscription ${subscription} cannot change while it has consumers`, {
    subscription,
  });
export const tooManyConsumers = (subscription: string, maxConsumers: number) =>
  new Problem("too-many-consumers", `Subscription ${subscription} allows ${maxConsumers} consumers at the same time`, {
    subscription,
    maxConsumers,
  });
export const noReceipts = (subscription: string, mode: string) =>
  new Problem("no-receipts", `Subscription ${subscription} is ${mode}: only read-receipt knows what was read`, {
    subscription,
    mode,
  });
/** What is consumed: a subscription, or the built-in queue of a stream. */
export type Source = { subscription: string } | { stream: string };
export const notProcessed = (of: Source, eventId: string) =>
  new Problem("not-processed", `Nobody has marked event ${eventId} of ${nameOf(of)} as processed`, { ...of, eventId });
export const alreadyProcessed = (of: Source, eventId: string, at: string) =>
  new Problem("already-processed", `Another delivery of event ${eventId} was marked as processed at ${at}`, {
    ...of,
    eventId,
    at,
  });
const nameOf = (of: Source) =>
  "stream" in of ? `the queue of stream ${of.stream}` : `subscription ${of.subscription}`;
export const lockNotFound = (key: string) => new Problem("lock-not-found", `Nobody holds the lock ${key}`, { key });
/** `leftMs`: until it runs out, in milliseconds. */
export const lockHeld = (key: string, owner: string | null, expiresAt: string, leftMs: number) =>
  new Problem("lock-held", `The lock ${key} is held${owner === null ? "" : ` by ${owner}`} until ${expiresAt}`, {
    key,
    owner,
    expiresAt,
    retryAfter: Math.max(1, Math.ceil(leftMs / 1_000)),
  });
export const staleToken = (detail: string) => new Problem("stale-token", detail);
export const cursorElsewhere = (subscription: string, mode: string, isOwn: boolean) =>
  new Problem(
    "cursor-elsewhere",
    isOwn
      ? `Each consumer of ${subscription}, which is ${mode}, has a cursor of its own: reset those`
      : `The consumers of ${subscription}, which is ${mode}, share one cursor: reset that of the subscription`,
    { subscription },
  );
export const deadLetterNotFound = (of: string, id: string) =>
  new Problem("dead-letter-not-found", `${of} has no dead letter ${id}`, { id });
export const remoteStreamNotFound = (stream: string) =>
  new Problem("remote-stream-not-found", `There is no remote stream ${stream}`, { stream });
export const sagaNotFound = (id: string) =>
  new Problem("saga-not-found", `There is no saga of the id ${id.slice(0, 100)}`, { sagaId: id.slice(0, 100) });
export const sagaUnknown = (saga: string) =>
  new Problem("saga-not-found", `No module of this service has a saga ${saga.slice(0, 100)}`, {
    saga: saga.slice(0, 100),
  });
export const sagaEnded = (id: string, state: string) =>
  new Problem("saga-ended", `The saga ${id} is ${state}: nothing of it is under way any more`, { sagaId: id, state });
/** `why`: what its definition here does not have. */
export const sagaMisfit = (id: string, why: string) =>
  new Problem("saga-misfit", `The saga ${id} cannot be carried on here: ${why}`, { sagaId: id });
export const sagaNotFailed = (id: string, state: string) =>
  new Problem("saga-not-failed", `The saga ${id} is ${state}: only what has failed is tried again`, {
    sagaId: id,
    state,
  });
export const projectionNotFound = (projection: string) =>
  new Problem("projection-not-found", `There is no projection ${projection}`, { projection });
export const projectionRowNotFound = (projection: string) =>
  new Problem("projection-row-not-found", `The projection ${projection} has no such row`, { projection });
export const projectionNotFailed = (projection: string, position: string) =>
  new Problem("projection-not-failed", `The projection ${projection} does not fail at position ${position}`, {
    projection,
    position,
  });
export const projectionRebuilding = (projection: string) =>
  new Problem("projection-rebuilding", `The projection ${projection} is being built anew already`, { projection });
export const projectionAttended = (projection: string) =>
  new Problem("projection-attended", `The projection ${projection} is run by a process that has its module`, {
    projection,
  });
export const noProjectionSnapshot = (projection: string) =>
  new Problem("no-projection-snapshot", `The projection ${projection} has no snapshot of its present definition`, {
    projection,
  });
export const projectionNotReady = (projection: string) =>
  new Problem("projection-not-ready", `The projection ${projection} is being built; it cannot answer yet`, {
    projection,
  });
export const projectionBehind = (projection: string, atLeast: string, position: string, state: string) =>
  new Problem("projection-behind", `The projection ${projection} is at position ${position}, not at ${atLeast} yet`, {
    projection,
    atLeast,
    position,
    state,
  });
export const eventNotFound = (stream: string, offset: string) =>
  new Problem("event-not-found", `Stream ${stream} has no event at offset ${offset}`, { stream, offset });
export const eventRemoved = (stream: string, offset: string, firstOffset: string) =>
  new Problem("event-removed", `The event at offset ${offset} of stream ${stream} has been removed`, {
    stream,
    offset,
    firstOffset,
  });
export const replayForbidden = (stream: string) =>
  new Problem(
    "replay-forbidden",
    `Stream ${stream} is configured with replay false: it can only be followed from its latest event`,
    {
      stream,
    },
  );
export const forbidden = (detail: string) => new Problem("forbidden", detail);
export const wrongExpectedVersion = (stream: string, expected: string, actual: string) =>
  new Problem("wrong-expected-version", `Expected version ${expected} of stream ${stream}, but it is ${actual}`, {
    stream,
    expected,
    actual,
  });
export const eventIdConflict = (stream: string, ids: string[]) =>
  new Problem("event-id-conflict", `Stream ${stream} holds an event of the same id with another content`, {
    stream,
    ids,
  });
export const idempotencyKeyReused = (key: string) =>
  new Problem("idempotency-key-reused", "This Idempotency-Key was used for another request", { key });
export const idempotencyKeyInUse = (key: string) =>
  new Problem("idempotency-key-in-use", "A request with this Idempotency-Key is still running", { key });
export const cursorBeyondHead = (cursor: string, head: string, logId: string) =>
  new Problem(
    "cursor-beyond-head",
    `The cursor ${cursor} lies beyond the head ${head}: it may belong to another history of the log`,
    {
      cursor,
      head,
      logId,
    },
  );
export const snapshotNotFound = (stream: string, by: string | null) =>
  new Problem("snapshot-not-found", `Stream ${stream} has no snapshot${by === null ? "" : ` by ${by}`}`, { stream });
/** `offset`: of the newer snapshot. */
export const snapshotOutdated = (stream: string, offset: string) =>
  new Problem("snapshot-outdated", `Stream ${stream} has a snapshot at offset ${offset}, which is newer`, {
    stream,
    offset,
  });
export const commandConflict = (command: string, stream: string, attempts: number) =>
  new Problem(
    "command-conflict",
    `Others appended to stream ${stream} each of the ${attempts} times that ${command} was decided; nothing was stored`,
    { command, stream },
  );
/** `errors`: what of the event's data its type's schema refuses. */
export const stateNotRebuilt = (
  decider: string,
  stream: string,
  offset: number,
  why: string,
  errors: readonly Violation[] = [],
) =>
  new Problem(
    "state-not-rebuilt",
    `The state of ${decider} cannot be rebuilt from stream ${stream}, at offset ${offset}: ${why}`,
    { decider, stream, offset: String(offset), ...(errors.length > 0 && { errors: errors.slice(0, maxViolations) }) },
  );
export const bodyTooLarge = (maxBytes: number) =>
  new Problem("body-too-large", `A body has at most ${maxBytes} bytes`, { maxBytes });
export const overloaded = (detail: string) => new Problem("overloaded", detail);
export const storageUnavailable = (detail: string, cause?: unknown) =>
  new Problem("storage-unavailable", detail, {}, cause);
export const schemasUnavailable = (detail = "The process that evaluates schemas and upcasters cannot be started") =>
  new Problem("schemas-unavailable", detail);
export const outcomeUnknown = (cause?: unknown) =>
  new Problem(
    "outcome-unknown",
    "The connection to the database broke before the commit was confirmed: repeat the request with the same event ids or Idempotency-Key",
    {},
    cause,
  );
export const shuttingDown = () => new Problem("shutting-down", "The service is shutting down");
export const internalError = (cause: unknown) =>
  new Problem("internal-error", "The service failed; its log tells why", {}, cause);
