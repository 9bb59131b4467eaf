// Freezes what handlers are given, so that one that changes it is told, and nobody else sees the change.

/** What is frozen through and through; an object that somebody else froze may hold others that are not. */
const frozen = new WeakSet<object>();

/** Freezes a value of JSON with all that it holds; what was frozen before costs nothing again. Returns the value. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || frozen.has(value)) return value;
  frozen.add(value);
  for (const key in value) deepFreeze(value[key]);
  return Object.freeze(value);
}

/** Whether a handler tripped over what is frozen, as JavaScriptCore and V8 put it. */
export function isFrozenWrite(error: unknown): boolean {
  return error instanceof TypeError && frozenWrite.test(error.message);
}

const frozenWrite = /read-?\s?only|not extensible|not writable|(Unable to|Cannot) delete property/;
