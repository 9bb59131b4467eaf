// Reads the configuration of a subscription out of a request's body: its schema, its defaults, its forbidden combinations.
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { parseDuration } from "../../base/duration.ts";
import { invalidConfiguration, type Violation } from "../../base/errors.ts";
import { messageOf, oneOf, saying } from "../../base/schema.ts";
import { streamName } from "../../stream/event.ts";
import { maxVersion } from "../../stream/schema/schema-version.ts";
import { targetOfBody } from "../../stream/schema/target.ts";
import { type DeliverySemantics, everyStream, type Mode, type SubscriptionConfiguration } from "./subscription.ts";

const duration = (description: string, options: Record<string, unknown> = {}) =>
  Type.String({ pattern: "^[0-9]{1,9}(ms|s|m|h|d)$", description, ...options });
const whole = (minimum: number, maximum: number, description: string, fallback?: number) =>
  Type.Integer({ minimum, maximum, description, ...(fallback === undefined ? {} : { default: fallback }) });
const names = (description: string) =>
  Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { minItems: 1, maxItems: 100, description });
/** The name of a stream, or what stands for all of them. */
const streamPattern = `^\\*$|${streamName.source}`;
const stream = Type.String({
  pattern: streamPattern,
  ...saying("must be a name of 1 to 200 of A-Z a-z 0-9 . _ - :, or * for all persistent streams"),
});

/** The body of `PUT /api/subscriptions/{id}`. */
export const SubscriptionInput = Type.Object(
  {
    stream: Type.Optional(
      Type.String({
        ...stream,
        description:
          "The stream; it need not exist yet. `*`: all persistent streams, those to come too, in the order of the log; `types` says which of their events",
      }),
    ),
    streams: Type.Optional(
      Type.Array(stream, { minItems: 1, maxItems: 100, description: "Several streams, in the order of the log" }),
    ),
    correlation: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 256,
        description: "Instead of streams: the events with this correlationid in all persistent streams",
      }),
    ),
    mode: Type.Optional(
      oneOf(["broadcast", "exclusive", "consumer-group", "read-receipt"], {
        default: "broadcast",
        description:
          "broadcast: each consumer gets all events; exclusive: each event goes to one consumer; consumer-group: to the member that owns its key, in order; read-receipt: each consumer gets all events, and has those it has not read",
      }),
    ),
    delivery: Type.Optional(
      oneOf(["at-most-once", "at-least-once", "exactly-once"], {
        default: "at-least-once",
        description: "No stronger than that of its streams; at-most-once by default where one of them is so",
      }),
    ),
    types: Type.Optional(names("Only events of these types")),
    where: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 1_000,
        description: "Only events whose data satisfies this SQL/JSON path predicate",
      }),
    ),
    from: Type.Optional(
      Type.String({
        default: "latest",
        description: "Where it begins, and each consumer of a broadcast: a place. Only the first PUT goes by it",
      }),
    ),
    visibilityTimeout: Type.Optional(
      duration("How long a consumer has for an event before it is handed out again, 100ms to 12h", { default: "30s" }),
    ),
    maxInFlight: Type.Optional(whole(1, 10_000, "Events that one consumer may hold unsettled", 1_000)),
    maxAttempts: Type.Optional(whole(1, 1_000, "How often an event is handed out before it is a dead letter", 5)),
    backoff: Type.Optional(
      Type.Object(
        {
          initial: Type.Optional(duration("Before the second attempt", { default: "1s" })),
          factor: Type.Optional(
            Type.Number({ minimum: 1, maximum: 100, default: 2, description: "By which each further delay is longer" }),
          ),
          max: Type.Optional(duration("The longest delay", { default: "1m" })),
        },
        { additionalProperties: false, description: "The delay between attempts" },
      ),
    ),
    maxConsumers: Type.Optional(whole(1, 100_000, "Consumers at the same time. Default: unlimited")),
    consumerTimeout: Type.Optional(
      duration("A consumer that is silent for so long is no member any more, 1s to 7d", { default: "1m" }),
    ),
    slots: Type.Optional(
      whole(
        1,
        1_024,
        "Consumer group: into how many parts the keys are divided; the most members that get anything. It cannot change",
        64,
      ),
    ),
    onFailure: Type.Optional(
      oneOf(["pause", "skip"], {
        default: "pause",
        description:
          "Consumer group: what becomes of a key when an event of it is given up. pause: its later events wait until the dead letter is replayed or discarded; skip: they go on",
      }),
    ),
    unreadTimeout: Type.Optional(
      duration("Read-receipt: how long a delivered event may stay unread, 100ms to 365d. Default: for ever"),
    ),
    onUnreadExpired: Type.Optional(
      oneOf(["requeue", "dead-letter", "drop"], {
        default: "requeue",
        description:
          "Read-receipt: what becomes of it then: requeue: another attempt, or a dead letter when there were as many as are allowed; dead-letter: at once; drop: it is unread no more",
      }),
    ),
    terminal: Type.Optional(
      names(
        "Types of events that complete it: behind the first that matches nothing is handed out. They are handed out too, whether `types` names them or not",
      ),
    ),
    push: Type.Optional(
      oneOf(["immediate", "on-reconnect", "batched"], {
        default: "immediate",
        description:
          "When event streams are written. immediate: as events come; batched: once per `batchInterval` at most, with all that has come together; on-reconnect: only as the consumer connects, with all that has come until then. Claims are not affected",
      }),
    ),
    batchInterval: Type.Optional(duration("Of batched: 100ms to 1h", { default: "1s" })),
    expiresAfter: Type.Optional(
      duration("A subscription without any consumer for so long is deleted, 1s to 365d. Default: never", {}),
    ),
    receiveAs: Type.Optional(
      Type.Union([Type.String({ minLength: 1, maxLength: 4_096 }), Type.Integer({ minimum: 1, maximum: maxVersion })], {
        default: "stored",
        description:
          "As which versions of their types events are handed out: stored, latest, a version, or types with versions such as UserAdded@2, separated by commas. Older events are upcast; newer ones stay as they are. What cannot be upcast becomes a dead letter",
        ...saying("must be stored, latest, a version, or types with versions such as UserAdded@2"),
      }),
    ),
    metadata: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { description: "Given back as it is, at most 16 KiB" }),
    ),
  },
  { additionalProperties: false },
);

const checker = TypeCompiler.Compile(SubscriptionInput);
const maxMetadataBytes = 16_384;

/** What a body says of a subscription; `from` is a place that has yet to be found, a `delivery` that is not given follows its streams'. */
export type ParsedSubscription = {
  configuration: SubscriptionConfiguration;
  from: string;
  delivery: DeliverySemantics | null;
};

/** Checks a body and fills in the defaults. Throws `invalid-configuration`. */
export function parseSubscription(body: unknown): ParsedSubscription {
  const violations: Violation[] = [];
  if (!checker.Check(body)) {
    for (const { path, message, schema } of checker.Errors(body)) {
      const known = Object.keys(SubscriptionInput.properties).join(", ");
      const detail = message === "Unexpected property" ? `is not a key; there are ${known}` : explain(message, schema);
      if (!violations.some((v) => v.path === path)) violations.push({ path, message: detail });
    }
    throw invalidConfiguration(
      violations.length > 0 ? violations : [{ path: "", message: "a subscription is a JSON object" }],
    );
  }
  const input: Static<typeof SubscriptionInput> = body;
  const ms = (path: string, text: string | undefined, fallback: string, min: number, max: number) => {
    const value = parseDuration(text ?? fallback) ?? -1;
    if (value < min || value > max) violations.push({ path, message: `must be a duration from ${min}ms to ${max}ms` });
    return value;
  };
  const hour = 3_600_000;
  const given = [input.stream, input.streams, input.correlation].filter((source) => source !== undefined);
  if (given.length !== 1) violations.push({ path: "", message: "must have one of stream, streams and correlation" });
  const named = input.stream !== undefined ? [input.stream] : namesOf(input.streams ?? []);
  const isEvery = named.includes(everyStream);
  if (isEvery && named.length > 1)
    violations.push({ path: "/streams", message: "has nothing beside *, which stands for all persistent streams" });
  const streams = isEvery || input.correlation !== undefined ? null : named;
  const mode: Mode = input.mode ?? "broadcast";
  for (const key of ["slots", "onFailure"] as const) {
    if (input[key] !== undefined && mode !== "consumer-group")
      violations.push({ path: `/${key}`, message: `belongs to a consumer-group, not to ${mode}` });
  }
  const metadata = input.metadata ?? {};
  if (Buffer.byteLength(JSON.stringify(metadata)) > maxMetadataBytes)
    violations.push({ path: "/metadata", message: `has at most ${maxMetadataBytes} bytes` });
  const initialMs = ms("/backoff/initial", input.backoff?.initial, "1s", 0, 24 * hour);
  const maxMs = ms("/backoff/max", input.backoff?.max, "1m", 0, 24 * hour);
  if (input.backoff?.initial !== undefined && maxMs < initialMs && input.backoff.max !== undefined)
    violations.push({ path: "/backoff/max", message: "is shorter than the first delay" });
  for (const key of ["unreadTimeout", "onUnreadExpired"] as const) {
    if (input[key] !== undefined && mode !== "read-receipt")
      violations.push({ path: `/${key}`, message: `belongs to mode read-receipt, this is ${mode}` });
  }
  if (input.batchInterval !== undefined && input.push !== "batched")
    violations.push({
      path: "/batchInterval",
      message: `belongs to push batched, not to ${input.push ?? "immediate"}`,
    });
  const terminal = input.terminal === undefined ? null : namesOf(input.terminal);
  const configuration: SubscriptionConfiguration = {
    mode,
    delivery: input.delivery ?? "at-least-once",
    streams,
    correlation: input.correlation ?? null,
    // What completes it has to be handed out.
    types: input.types === undefined ? null : namesOf([...input.types, ...(terminal ?? [])]),
    where: input.where ?? null,
    visibilityTimeoutMs: ms("/visibilityTimeout", input.visibilityTimeout, "30s", 100, 12 * hour),
    maxInFlight: input.maxInFlight ?? 1_000,
    maxAttempts: input.maxAttempts ?? 5,
    backoff: { initialMs, factor: input.backoff?.factor ?? 2, maxMs: Math.max(maxMs, initialMs) },
    maxConsumers: input.maxConsumers ?? null,
    consumerTimeoutMs: ms("/consumerTimeout", input.consumerTimeout, "1m", 1_000, 7 * 24 * hour),
    slots: input.slots ?? 64,
    onFailure: input.onFailure ?? "pause",
    unreadTimeoutMs:
      input.unreadTimeout === undefined ? null : ms("/unreadTimeout", input.unreadTimeout, "", 100, 365 * 24 * hour),
    onUnreadExpired: input.onUnreadExpired ?? "requeue",
    terminal,
    push: input.push ?? "immediate",
    batchIntervalMs: ms("/batchInterval", input.batchInterval, "1s", 100, hour),
    expiresAfterMs:
      input.expiresAfter === undefined ? null : ms("/expiresAfter", input.expiresAfter, "", 1_000, 365 * 24 * hour),
    metadata,
    receiveAs: targetOfBody(input.receiveAs ?? "stored", "/receiveAs", violations),
  };
  if (violations.length > 0) throw invalidConfiguration(violations);
  return { configuration, from: input.from ?? "latest", delivery: input.delivery ?? null };
}

function namesOf(list: readonly string[]): string[] {
  return [...new Set(list)].sort();
}

function explain(message: string, schema: TSchema): string {
  const words = messageOf(schema);
  if (words !== null) return words;
  if (typeof schema.pattern === "string") return "must be a duration such as 500ms, 30s, 5m or 7d";
  return message.charAt(0).toLowerCase() + message.slice(1);
}
