// What an append comes to: the problem that its request is refused with, or its events as they are stored.
import {
  eventIdConflict,
  idempotencyKeyReused,
  internalError,
  outcomeUnknown,
  type Problem,
  storageUnavailable,
  wrongExpectedVersion,
} from "../base/errors.ts";
import type { FailureKind } from "../storage/pg-errors.ts";
import { type AppendRequest, clientKey, type Expected } from "./append-request.ts";
import type { NewEvent, StoredEvent } from "./event.ts";

/** What all requests of a statement that failed are told. */
export function problemOf(kind: FailureKind, error: unknown): Problem {
  switch (kind) {
    case "unavailable":
    case "retry":
      return storageUnavailable("The database cannot store events now; nothing was stored", error);
    case "no-partition":
      return storageUnavailable("The log is being extended; nothing was stored", error);
    case "unknown":
      return outcomeUnknown(error);
    case "refused":
    case "defect":
      return internalError(error);
    default:
      return kind satisfies never;
  }
}

/** What a request is told that could not be checked against schemas: it has not reached the log. */
export function notChecked(error: unknown): Problem {
  return storageUnavailable("The schemas of the events cannot be read now; nothing was stored", error);
}

/** What a request of a status other than success is told; `guilty`: ids of events at fault. */
export function refusal(request: AppendRequest, code: number, actual: number, guilty: string[]): Problem {
  if (code === 2) return wrongExpectedVersion(request.stream, describe(request.expected), String(actual));
  if (code === 3) return eventIdConflict(request.stream, guilty.slice(0, 10));
  if (code === 4) return idempotencyKeyReused(clientKey(request.idempotency?.key ?? ""));
  return internalError(new Error(`log_append answered status ${code}`));
}

function describe(expected: Expected): string {
  if (expected === "nothing") return "-1";
  if (typeof expected === "object") return String(expected.offset);
  return expected === "something" ? "*" : String(expected);
}

export function storedEvent(
  event: NewEvent,
  stream: string,
  ephemeral: boolean,
  offset: number,
  position: number,
  recordedTime: string,
): StoredEvent {
  return {
    position,
    stream,
    ephemeral,
    offset,
    recordedTime,
    id: event.id,
    type: event.type,
    schemaVersion: event.schemaVersion,
    correlationId: event.correlationId,
    partitionKey: event.partitionKey,
    attributes: event.attributes,
    data: event.data,
    binary: event.binary,
    line: null,
    lineRevision: -1,
    shown: null,
  };
}
