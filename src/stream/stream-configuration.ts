// What a stream can be configured with: the keys of the API, their bounds and combinations, and how they are shown.
import { formatDuration } from "../base/duration.ts";
import { invalidConfiguration, type Violation } from "../base/errors.ts";
import { isObject, type Refuse, readCount, readDuration, readFields } from "./configuration-fields.ts";
import { describeNats, type NatsSettings, type NatsSettingsShown, readNats } from "./cross-service/settings.ts";
import { type ValidationMode, validations } from "./schema/validation.ts";

export const deliveries = ["at-most-once", "at-least-once", "exactly-once"] as const;
export type Delivery = (typeof deliveries)[number];
export const scopes = ["internal", "cross-service"] as const;
export type Scope = (typeof scopes)[number];

/** What a stream keeps at most; null: no bound. */
export type Retention = { maxAgeMs: number | null; maxBytes: number | null; maxEvents: number | null };

/** The built-in queue of an ephemeral stream. */
export type QueueSettings = {
  visibilityTimeoutMs: number;
  maxAttempts: number;
  backoffInitialMs: number;
  backoffFactor: number;
  backoffMaxMs: number;
};

export type StreamConfiguration = {
  ephemeral: boolean;
  delivery: Delivery;
  /** What becomes of events that do not match their schemas. */
  validation: ValidationMode;
  replay: boolean;
  retention: Retention;
  queue: QueueSettings;
  /** What it has in NATS; null: its scope is internal. */
  crossService: NatsSettings | null;
};

/** The configuration as the API shows it: durations with their unit, 64-bit numbers as decimal strings. */
export type StreamSettings = {
  type: "persistent" | "ephemeral";
  delivery: Delivery;
  scope: Scope;
  /** Null of a stream that stays within the service. */
  nats: NatsSettingsShown | null;
  validation: ValidationMode;
  replay: boolean;
  retention: { maxAge: string | null; maxBytes: string | null; maxEvents: string | null };
  /** Null of a persistent stream, as the two that follow. */
  visibilityTimeout: string | null;
  maxAttempts: number | null;
  backoff: { initial: string; factor: number; max: string } | null;
};

const dayMs = 86_400_000;
const defaultQueue: QueueSettings = {
  visibilityTimeoutMs: 30_000,
  maxAttempts: 5,
  backoffInitialMs: 1_000,
  backoffFactor: 2,
  backoffMaxMs: 60_000,
};
/** Bounds an ephemeral stream that nobody consumes. */
const ephemeralMaxAgeMs = 7 * dayMs;
const minAgeMs = 100;
const maxAgeMs = 36_500 * dayMs;
const minVisibilityMs = 100;
const maxVisibilityMs = dayMs / 2;
const maxPauseMs = 7 * dayMs;
const maxAttemptsBound = 1_000;
const maxFactor = 100;

const queueKeys = ["visibilityTimeout", "maxAttempts", "backoff"];
const types = ["persistent", "ephemeral"];

/**
 * Checks a configuration. What the service cannot enforce is refused, never stored in silence; null stands for a key that
 * is left out where a description shows null. Throws `invalid-configuration`, which names every key at fault.
 */
export function parseConfiguration(body: unknown): StreamConfiguration {
  if (!isObject(body)) throw invalidConfiguration([{ path: "", message: "a configuration is a JSON object" }]);
  const violations: Violation[] = [];
  const refuse = (path: string, message: string) => void violations.push({ path, message });
  const { type = "persistent", delivery = "at-least-once", validation = "off", replay, retention, ...more } = body;
  const { scope = "internal", nats, ...rest } = more;
  const ephemeral = type === "ephemeral";
  if (!types.includes(type as string)) refuse("/type", `must be one of ${types.join(", ")}`);
  if (!deliveries.includes(delivery as Delivery)) refuse("/delivery", `must be one of ${deliveries.join(", ")}`);
  if (!validations.includes(validation as ValidationMode))
    refuse("/validation", `must be one of ${validations.join(", ")}`);
  if (replay !== undefined && typeof replay !== "boolean") refuse("/replay", "must be true or false");
  if (ephemeral && replay === true)
    refuse("/replay", "an ephemeral stream forgets what is settled: it cannot be replayed");
  if (!scopes.includes(scope as Scope)) refuse("/scope", `must be one of ${scopes.join(", ")}`);
  const isShared = scope === "cross-service";
  if (ephemeral && isShared)
    refuse("/scope", "an ephemeral stream forgets what is settled here: it cannot be published to other services");
  if (!isShared && nats !== undefined && nats !== null)
    refuse("/nats", "belongs to a stream whose scope is cross-service");
  for (const [key, value] of Object.entries(rest)) {
    const path = `/${key}`;
    if (!queueKeys.includes(key)) refuse(path, "is not a key of a stream's configuration");
    else if (!ephemeral && value !== null)
      refuse(path, "belongs to the queue of an ephemeral stream; a persistent one is consumed by subscriptions");
  }
  const configuration: StreamConfiguration = {
    ephemeral,
    delivery: delivery as Delivery,
    validation: validation as ValidationMode,
    replay: (replay ?? !ephemeral) === true,
    retention: readRetention(retention, ephemeral, refuse),
    queue: ephemeral ? readQueue(rest, refuse) : defaultQueue,
    crossService: isShared ? readNats(nats, refuse) : null,
  };
  if (violations.length > 0) throw invalidConfiguration(violations);
  return configuration;
}

function readRetention(given: unknown, ephemeral: boolean, refuse: Refuse): Retention {
  const fields = readFields(given, "/retention", ["maxAge", "maxBytes", "maxEvents"], refuse);
  const maxAge = readDuration(fields.maxAge, "/retention/maxAge", minAgeMs, maxAgeMs, refuse);
  return {
    maxAgeMs: maxAge ?? (ephemeral ? ephemeralMaxAgeMs : null),
    maxBytes: readCount(fields.maxBytes, "/retention/maxBytes", refuse),
    maxEvents: readCount(fields.maxEvents, "/retention/maxEvents", refuse),
  };
}

function readQueue(rest: Record<string, unknown>, refuse: Refuse): QueueSettings {
  const backoff = readFields(rest.backoff, "/backoff", ["initial", "factor", "max"], refuse);
  const visibility = readDuration(
    rest.visibilityTimeout,
    "/visibilityTimeout",
    minVisibilityMs,
    maxVisibilityMs,
    refuse,
  );
  const attempts = rest.maxAttempts ?? defaultQueue.maxAttempts;
  if (!Number.isInteger(attempts) || (attempts as number) < 1 || (attempts as number) > maxAttemptsBound)
    refuse("/maxAttempts", `must be a whole number from 1 to ${maxAttemptsBound}`);
  const factor = backoff.factor ?? defaultQueue.backoffFactor;
  if (typeof factor !== "number" || factor < 1 || factor > maxFactor)
    refuse("/backoff/factor", `must be a number from 1 to ${maxFactor}`);
  const initial = readDuration(backoff.initial, "/backoff/initial", 0, maxPauseMs, refuse);
  const backoffInitialMs = initial ?? defaultQueue.backoffInitialMs;
  const longest = readDuration(backoff.max, "/backoff/max", 0, maxPauseMs, refuse);
  const backoffMaxMs = longest ?? Math.max(defaultQueue.backoffMaxMs, backoffInitialMs);
  if (backoffMaxMs < backoffInitialMs)
    refuse("/backoff/max", `must not be shorter than initial, which is ${formatDuration(backoffInitialMs)}`);
  return {
    visibilityTimeoutMs: visibility ?? defaultQueue.visibilityTimeoutMs,
    maxAttempts: attempts as number,
    backoffInitialMs,
    backoffFactor: factor as number,
    backoffMaxMs,
  };
}

/** The configuration as the API shows it. */
export function describeConfiguration(configuration: StreamConfiguration): StreamSettings {
  const { ephemeral, delivery, validation, replay, retention, queue, crossService } = configuration;
  const count = (value: number | null) => (value === null ? null : String(value));
  return {
    type: ephemeral ? "ephemeral" : "persistent",
    delivery,
    scope: crossService === null ? "internal" : "cross-service",
    nats: crossService === null ? null : describeNats(crossService),
    validation,
    replay,
    retention: {
      maxAge: retention.maxAgeMs === null ? null : formatDuration(retention.maxAgeMs),
      maxBytes: count(retention.maxBytes),
      maxEvents: count(retention.maxEvents),
    },
    visibilityTimeout: ephemeral ? formatDuration(queue.visibilityTimeoutMs) : null,
    maxAttempts: ephemeral ? queue.maxAttempts : null,
    backoff: ephemeral
      ? {
          initial: formatDuration(queue.backoffInitialMs),
          factor: queue.backoffFactor,
          max: formatDuration(queue.backoffMaxMs),
        }
      : null,
  };
}
