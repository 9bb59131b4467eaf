// What has changed between two JSON values, place by place: a diff of schemas that people can read.
import type { SchemaChange } from "../../base/errors.ts";
import { pointerToken } from "../../base/json-pointer.ts";

const maxChanges = 20;
const maxShown = 200;

/** The places that differ, as JSON Pointers (RFC 6901); `null` stands for what is not there, as it does for null. */
export function schemaChanges(was: unknown, is: unknown): SchemaChange[] {
  const changes: SchemaChange[] = [];
  collect(was, is, "", changes);
  return changes;
}

function collect(was: unknown, is: unknown, path: string, changes: SchemaChange[]): void {
  if (changes.length >= maxChanges || Object.is(was, is)) return;
  if (!isContainer(was) || !isContainer(is) || Array.isArray(was) !== Array.isArray(is)) {
    changes.push({ path, was: shown(was), is: shown(is) });
    return;
  }
  const names = new Set([...Object.keys(was), ...Object.keys(is)]);
  for (const name of names) {
    collect(ownOf(was, name), ownOf(is, name), path + pointerToken(name), changes);
  }
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function ownOf(value: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

/** Large values are cut short: it is the place that counts. */
function shown(value: unknown): unknown {
  if (value === undefined) return null;
  const text = JSON.stringify(value);
  return text.length <= maxShown ? value : `${text.slice(0, maxShown)}…`;
}
