// Tells whether a value is what it will be after JSON, as states have to be.
import type { Violation } from "../../base/errors.ts";
import { pointerToken } from "../../base/json-pointer.ts";

/** The first place of a value that JSON would not give back as it is; null when there is none. Absent and undefined members are the same. */
export function notJson(value: unknown, path = ""): Violation | null {
  if (value === null || typeof value === "string" || typeof value === "boolean") return null;
  if (typeof value === "number") return Number.isFinite(value) ? null : { path, message: `is ${value}` };
  if (typeof value !== "object")
    return { path, message: `is ${value === undefined ? "undefined" : `a ${typeof value}`}` };
  if (Array.isArray(value)) {
    for (const [n, item] of value.entries()) {
      const found = notJson(item, `${path}/${n}`);
      if (found !== null) return found;
    }
    return null;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    return { path, message: `is a ${prototype.constructor?.name ?? "object with a prototype"}` };
  for (const [name, item] of Object.entries(value)) {
    if (item === undefined) continue;
    const found = notJson(item, path + pointerToken(name));
    if (found !== null) return found;
  }
  return null;
}
