// What a remote stream mirrors, and how long it tries: read from a body of the API or from a module.
import { formatDuration } from "../../base/duration.ts";
import { invalidConfiguration, type Violation } from "../../base/errors.ts";
import { isObject, type Refuse, readDuration, readFields } from "../configuration-fields.ts";
import { streamName } from "../event.ts";

/** Which stream of JetStream is mirrored: that of a service's stream, the one that has a subject, or one by its name. */
export type RemoteSource =
  | { service: string; stream: string }
  | { subject: string }
  | { jetstream: string; subject: string | null };

export type RemoteDefinition = {
  source: RemoteSource;
  /** After so many tries a message is given up. */
  maxDeliveries: number;
  backoffInitialMs: number;
  backoffFactor: number;
  backoffMaxMs: number;
};

/** The definition as the API shows it. */
export type RemoteSettings = {
  service: string | null;
  stream: string | null;
  subject: string | null;
  jetstream: string | null;
  maxDeliveries: number;
  backoff: { initial: string; factor: number; max: string };
};

const defaults = { maxDeliveries: 5, initialMs: 1_000, factor: 2, maxMs: 60_000 };
const maxDeliveriesBound = 1_000;
const maxPauseMs = 7 * 86_400_000;
const maxFactor = 100;
const maxNameLength = 200;
const keys = ["service", "stream", "subject", "jetstream", "maxDeliveries", "backoff"];
/** What a name of JetStream's must not contain. */
const jetstreamName = /^[^\s.*>/\\\p{Cc}]{1,255}$/u;
const subjectToken = /^[^\s.*>\p{Cc}]+$/u;

/**
 * Reads the body of `PUT /api/remote-streams/{name}`; null stands for a key that is left out. `own`: what must not be mirrored,
 * the local stream itself. Throws `invalid-configuration`, which names every key at fault.
 */
export function parseRemoteDefinition(body: unknown, own: { service: string; stream: string }): RemoteDefinition {
  if (!isObject(body)) throw invalidConfiguration([{ path: "", message: "a remote stream is a JSON object" }]);
  const violations: Violation[] = [];
  const refuse: Refuse = (path, message) => void violations.push({ path, message });
  for (const key of Object.keys(body))
    if (!keys.includes(key)) refuse(`/${key}`, `is not a key of a remote stream; there are ${keys.join(", ")}`);
  const source = readSource(body, own, refuse);
  const maxDeliveries = body.maxDeliveries ?? defaults.maxDeliveries;
  if (!isWhole(maxDeliveries, 1, maxDeliveriesBound))
    refuse("/maxDeliveries", `must be a whole number from 1 to ${maxDeliveriesBound}`);
  const backoff = readBackoff(body.backoff, refuse);
  if (violations.length > 0 || source === null) throw invalidConfiguration(violations);
  return { source, maxDeliveries: maxDeliveries as number, ...backoff };
}

function readSource(
  body: Record<string, unknown>,
  own: { service: string; stream: string },
  refuse: Refuse,
): RemoteSource | null {
  const text = (key: string) => body[key] ?? null;
  const [service, stream, subject, jetstream] = [text("service"), text("stream"), text("subject"), text("jetstream")];
  if (service !== null || stream !== null) {
    if (subject !== null || jetstream !== null)
      refuse("", "has either service and stream, or subject, or jetstream with or without a subject");
    const isService = typeof service === "string" && /^[^\p{Cc}]+$/u.test(service) && service.length <= maxNameLength;
    if (!isService) refuse("/service", `must be the name of the other service, of 1 to ${maxNameLength} characters`);
    if (typeof stream !== "string" || !streamName.test(stream))
      refuse(
        "/stream",
        "must be the name of a stream of the other service: 1 to 200 characters of A-Z a-z 0-9 . _ - :",
      );
    if (service === own.service && stream === own.stream) refuse("/stream", "is the local stream itself");
    return { service: String(service), stream: String(stream) };
  }
  if (subject !== null && !isSubject(subject))
    refuse(
      "/subject",
      `must be a subject of NATS of at most ${maxNameLength} characters: tokens without white space, joined by dots; * stands for one token, > at the end for the rest`,
    );
  if (jetstream !== null) {
    if (typeof jetstream !== "string" || !jetstreamName.test(jetstream))
      refuse(
        "/jetstream",
        "must be the name of a stream of JetStream: 1 to 255 characters without white space . * > / \\",
      );
    return { jetstream: String(jetstream), subject: subject === null ? null : String(subject) };
  }
  if (subject !== null) return { subject: String(subject) };
  refuse("", "must have service and stream, or subject, or jetstream");
  return null;
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}

function isSubject(value: unknown): boolean {
  if (typeof value !== "string" || value.length > maxNameLength) return false;
  const tokens = value.split(".");
  return tokens.every(
    (token, n) => token === "*" || (token === ">" && n === tokens.length - 1) || subjectToken.test(token),
  );
}

function readBackoff(given: unknown, refuse: Refuse) {
  const { initial, factor, max } = readFields(given, "/backoff", ["initial", "factor", "max"], refuse);
  const backoffFactor = factor ?? defaults.factor;
  if (typeof backoffFactor !== "number" || backoffFactor < 1 || backoffFactor > maxFactor)
    refuse("/backoff/factor", `must be a number from 1 to ${maxFactor}`);
  const backoffInitialMs = readDuration(initial, "/backoff/initial", 0, maxPauseMs, refuse) ?? defaults.initialMs;
  const longest = readDuration(max, "/backoff/max", 0, maxPauseMs, refuse);
  const backoffMaxMs = longest ?? Math.max(defaults.maxMs, backoffInitialMs);
  if (backoffMaxMs < backoffInitialMs)
    refuse("/backoff/max", `must not be shorter than initial, which is ${formatDuration(backoffInitialMs)}`);
  return { backoffInitialMs, backoffFactor: backoffFactor as number, backoffMaxMs };
}

/** The pause before the next try, in milliseconds; null when there is none. `attempts`: that there have been. */
export function retryPauseMs(definition: Omit<RemoteDefinition, "source">, attempts: number): number | null {
  const { maxDeliveries, backoffInitialMs, backoffFactor, backoffMaxMs } = definition;
  if (attempts >= maxDeliveries) return null;
  // No pause stays none, where the factor has grown beyond all numbers.
  if (backoffInitialMs === 0) return 0;
  return Math.round(Math.min(backoffInitialMs * backoffFactor ** (attempts - 1), backoffMaxMs));
}

export function describeRemoteDefinition(definition: RemoteDefinition): RemoteSettings {
  const { source } = definition;
  return {
    service: "service" in source ? source.service : null,
    stream: "service" in source ? source.stream : null,
    subject: "service" in source ? null : source.subject,
    jetstream: "jetstream" in source ? source.jetstream : null,
    maxDeliveries: definition.maxDeliveries,
    backoff: {
      initial: formatDuration(definition.backoffInitialMs),
      factor: definition.backoffFactor,
      max: formatDuration(definition.backoffMaxMs),
    },
  };
}
