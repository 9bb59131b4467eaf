// Makes an event of a row of the outbox, with the checks of any append.
import type { Violation } from "../../base/errors.ts";
import { inWords } from "../../base/violations.ts";
import type { NewEvent } from "../event.ts";
import { toEvent } from "../event-input.ts";
import { JsonWalk } from "../json-text.ts";
import type { OutboxRow } from "./row.ts";

/** The event of a row; a plain sentence where it cannot be one. `service`: its name, which stands in the source of events. */
export function eventOfRow(row: OutboxRow, service: string, maxBytes: number): NewEvent | string {
  const value = Object.assign(Object.create(null), JSON.parse(row.attributes)) as Record<string, unknown>;
  for (const name in value) if (value[name] === null) delete value[name];
  value.type = row.type;
  value.schemaversion = row.schemaVersion;
  if (row.correlationId !== null) value.correlationid = row.correlationId;
  if (row.partitionKey !== null) value.partitionkey = row.partitionKey;
  if (row.binary !== null) value.data_base64 = Buffer.from(row.binary).toString("base64");
  // It happened when it was inserted; but two rows of one event id are to be the same event.
  if (row.eventId !== null) value.id = row.eventId;
  else value.time ??= row.createdAt;
  const violations: Violation[] = [];
  let { data } = row;
  if (data !== null) {
    const walk = new JsonWalk(data);
    walk.value();
    if (walk.refusal !== null) violations.push({ path: "/data", message: walk.refusal });
    // Between tokens only: the envelope has to stay on one line.
    data = data.trim().replace(/[\r\n]+\s*/g, " ");
  }
  const context = { stream: row.stream, service, idempotencyKey: null, own: row.own };
  const event = toEvent({ value, data }, "", context, 0, violations);
  if (event === null || violations.length > 0) return inWords(violations);
  return event.bytes > maxBytes ? `has ${event.bytes} bytes; an event has at most ${maxBytes}` : event;
}
