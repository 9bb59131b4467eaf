// Reads the fields of a configuration: each says what is wrong with it by its path.
import { formatDuration, parseDuration } from "../base/duration.ts";

/** Takes down what is wrong at a path. */
export type Refuse = (path: string, message: string) => void;

export function readFields(given: unknown, path: string, keys: string[], refuse: Refuse): Record<string, unknown> {
  if (given === undefined || given === null) return {};
  if (!isObject(given)) {
    refuse(path, `must be an object with ${keys.join(", ")}`);
    return {};
  }
  for (const key of Object.keys(given)) {
    if (!keys.includes(key)) refuse(`${path}/${key}`, `is not a key of ${path.slice(1)}; it has ${keys.join(", ")}`);
  }
  return given;
}

export function readDuration(
  given: unknown,
  path: string,
  minMs: number,
  maxMs: number,
  refuse: Refuse,
): number | null {
  if (given === undefined || given === null) return null;
  const ms = typeof given === "string" ? parseDuration(given) : null;
  if (ms === null) refuse(path, "must be a duration such as 500ms, 30s, 5m, 24h or 7d");
  else if (ms < minMs || ms > maxMs) refuse(path, `must be from ${formatDuration(minMs)} to ${formatDuration(maxMs)}`);
  return ms;
}

export function readCount(given: unknown, path: string, refuse: Refuse): number | null {
  if (given === undefined || given === null) return null;
  const count = typeof given === "string" && /^\d{1,16}$/.test(given) ? Number(given) : given;
  if (Number.isSafeInteger(count) && (count as number) >= 1) return count as number;
  refuse(path, `must be a whole number from 1 to ${Number.MAX_SAFE_INTEGER}, as a number or as a decimal string`);
  return null;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
