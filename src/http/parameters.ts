// Reads the parameters of requests: stream names, places, filters, limits, preconditions.
import { invalidParameter, invalidStreamName, invalidSubscriptionName, Problem } from "../base/errors.ts";
import type { Expected } from "../stream/append-request.ts";
import { streamName } from "../stream/event.ts";
import { type Place, parsePlace } from "../stream/place.ts";
import type { Registry } from "../stream/schema/registry.ts";
import { asStored, checkTarget, parseTarget, type Target } from "../stream/schema/target.ts";
import type { Selection } from "../stream/selection.ts";
import { consumerName, subscriptionName } from "../subscription/registry/subscription.ts";

const maxUrlLength = 8_192;
const maxFilterLength = 1_000;
const maxTypes = 100;
const maxStreams = 100;

/** The query of a request. Throws `uri-too-long`, and `invalid-parameter` for one that is unknown, repeated or malformed. */
export function readQuery(request: Request, known: readonly string[]): URLSearchParams {
  if (request.url.length > maxUrlLength) {
    throw new Problem("uri-too-long", `A URL has at most ${maxUrlLength} characters`);
  }
  const start = request.url.indexOf("?");
  const query = new URLSearchParams(start === -1 ? "" : request.url.slice(start + 1));
  for (const key of query.keys()) {
    if (!known.includes(key))
      throw invalidParameter(key, `There is no parameter ${key.slice(0, 100)}; there are ${known.join(", ")}`);
    if (key !== "stream" && query.getAll(key).length > 1) throw invalidParameter(key, `${key} is given more than once`);
  }
  return query;
}

/** Throws `invalid-stream-name`. */
export function readStreamName(name: string): string {
  if (!streamName.test(name)) throw invalidStreamName(name);
  return name;
}

/** Throws `invalid-subscription-name`. */
export function readSubscriptionName(name: string): string {
  if (!subscriptionName.test(name)) throw invalidSubscriptionName(name);
  return name;
}

/** Throws `invalid-parameter`. */
export function readConsumerName(name: string): string {
  if (!consumerName.test(name))
    throw invalidParameter("consumer", "a consumer has 1 to 200 characters of A-Z a-z 0-9 . _ - : @");
  return name;
}

export function readPlace(query: URLSearchParams, parameter: string): Place | null {
  const text = query.get(parameter);
  return text === null ? null : parsePlace(parameter, text);
}

/** A number of a page's end, for `after`. Throws `invalid-parameter`. */
export function readAfter(query: URLSearchParams): number | null {
  const text = query.get("after");
  if (text === null) return null;
  if (text === "-1") return -1;
  if (!/^\d{1,19}$/.test(text))
    throw invalidParameter("after", "after is an offset, or a position where several streams are read");
  return Math.min(Number(text), Number.MAX_SAFE_INTEGER);
}

/** A whole number in a range. Throws `invalid-parameter`. */
export function readNumber<Default>(
  query: URLSearchParams,
  parameter: string,
  fallback: Default,
  max: number,
): number | Default {
  const text = query.get(parameter);
  if (text === null) return fallback;
  if (!/^\d{1,16}$/.test(text) || Number(text) < 1 || Number(text) > max) {
    throw invalidParameter(parameter, `${parameter} is a number from 1 to ${max}`);
  }
  return Number(text);
}

export function readBoolean(query: URLSearchParams, parameter: string): boolean {
  const text = query.get(parameter);
  if (text === null || text === "false") return false;
  if (text === "true") return true;
  throw invalidParameter(parameter, `${parameter} is true or false`);
}

/** As which versions events are wanted. Throws `invalid-parameter`, also for a version that is not registered. */
export async function readTarget(query: URLSearchParams, registry: Registry): Promise<Target> {
  const text = query.get("schema");
  if (text === null) return asStored;
  const target = parseTarget(text);
  if (typeof target === "string") throw invalidParameter("schema", `schema ${target}`);
  const missing = await checkTarget(registry, target);
  if (missing !== null) throw invalidParameter("schema", missing);
  return target;
}

export function readDirection(query: URLSearchParams): "forward" | "backward" {
  const text = query.get("direction") ?? "forward";
  if (text === "forward" || text === "backward") return text;
  throw invalidParameter("direction", "direction is forward or backward");
}

/** Throws `invalid-parameter`, `invalid-stream-name`. */
export function readSelection(query: URLSearchParams, stream: string | null): Selection {
  const types = query.get("types");
  const list = types === null ? null : [...new Set(types.split(","))];
  if (list?.some((type) => type === "" || type.length > 256 || hasControl(type))) {
    throw invalidParameter("types", "types is a list of event types, separated by commas");
  }
  if (list !== null && list.length > maxTypes)
    throw invalidParameter("types", `types has at most ${maxTypes} elements`);
  const given = query.getAll("stream");
  const names = stream !== null ? [stream] : given.length === 0 ? null : [...new Set(given.map(readStreamName))].sort();
  if (names !== null && names.length > maxStreams)
    throw invalidParameter("stream", `at most ${maxStreams} streams are read at once`);
  return {
    streams: names,
    types: list === null ? null : list.sort(),
    correlation: readText(query, "correlation"),
    key: readText(query, "key"),
    where: query.get("where"),
  };
}

/** A text that is not empty. Throws `invalid-parameter`. */
export function readText(query: URLSearchParams, parameter: string): string | null {
  const text = query.get(parameter);
  if (text === null) return null;
  if (text === "" || text.length > maxFilterLength || hasControl(text)) {
    throw invalidParameter(
      parameter,
      `${parameter} is a text of 1 to ${maxFilterLength} characters without control characters`,
    );
  }
  return text;
}

function hasControl(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  return /[\u0000-\u001f\u007f]/.test(text) || !text.isWellFormed();
}

/** The version that `If-Match` and `If-None-Match` (RFC 9110, sections 13.1.1 and 13.1.2) expect. Throws `invalid-parameter`. */
export function readExpected(headers: Headers): Expected {
  const match = headers.get("if-match");
  const noneMatch = headers.get("if-none-match");
  if (match !== null && noneMatch !== null)
    throw invalidParameter("If-Match", "If-Match and If-None-Match exclude each other");
  if (noneMatch !== null) {
    if (noneMatch.trim() !== "*")
      throw invalidParameter("If-None-Match", "If-None-Match takes * only: nothing was ever appended");
    return "nothing";
  }
  if (match === null) return "any";
  if (match.trim() === "*") return "something";
  const version = /^(?:W\/)?"(-1|\d{1,19})"$/.exec(match.trim())?.[1];
  if (version === undefined)
    throw invalidParameter("If-Match", 'If-Match takes one offset in quotes, such as "17", or *');
  return version === "-1" ? "nothing" : Math.min(Number(version), Number.MAX_SAFE_INTEGER);
}

/** Throws `invalid-parameter`. */
export function readIdempotencyKey(headers: Headers): string | null {
  const key = headers.get("idempotency-key");
  if (key === null) return null;
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw invalidParameter("Idempotency-Key", "Idempotency-Key has 1 to 255 visible ASCII characters");
  }
  return key;
}
