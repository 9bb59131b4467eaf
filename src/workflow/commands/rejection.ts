// What a handler throws to refuse what it was asked for.
import { notJson } from "../handlers/json-value.ts";

/** A refusal for a reason of the domain: the client is told, and nothing is stored. */
export class Rejection extends Error {
  /** What helps the client besides the reason; empty where it is no JSON. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(reason: string, details: Readonly<Record<string, unknown>> = {}) {
    super(reason);
    this.name = "Rejection";
    this.details = notJson(details) === null ? details : {};
  }
}

/** Refuses a command: `409 command-rejected` with this reason. */
export function reject(reason: string, details: Readonly<Record<string, unknown>> = {}): never {
  throw new Rejection(reason, details);
}
