// Makes events that can be appended of those that code emits, and checks them on the way.
import type { Violation } from "../../base/errors.ts";
import { inWords } from "../../base/violations.ts";
import type { NewEvent } from "../../stream/event.ts";
import { streamName } from "../../stream/event.ts";
import { type ParseContext, toEvent } from "../../stream/event-input.ts";
import { JsonWalk, type Refusal } from "../../stream/json-text.ts";
import { checkerOf } from "../handlers/checker.ts";
import { Defect } from "../handlers/defect.ts";
import type { DraftEvent } from "./draft-event.ts";

/** What all events of one cause bear. */
export type Cause = { correlationId: string; causationId: string; traceparent: string | null };

/** Of an event of a stream. Throws `Defect`. */
export type Emission = (stream: string, draft: DraftEvent, cause: Cause) => NewEvent;

/** Each level of nesting takes two characters, and a hundred levels are allowed. */
const shallowBelow = 200;

/** `maxEventBytes`: of one event, as over HTTP. `service`: its name, which stands in the source of events. */
export function createEmission(service: string, maxEventBytes: number): Emission {
  return (stream, draft, { correlationId, causationId, traceparent }) => {
    if (!streamName.test(stream))
      throw refusedEmission(`${draft.type} to a stream that has no valid name`, [
        { path: "", message: JSON.stringify(stream).slice(0, 250) },
      ]);
    const refused = (violations: readonly Violation[]) =>
      refusedEmission(`${draft.type} to ${stream}, which cannot be stored`, violations);
    const violations = checkerOf(draft.schema)(draft.data);
    if (violations !== null) throw refusedEmission(`${draft.type}, which its schema refuses`, violations);
    const { id, subject, partitionKey, time, extensions } = draft.attributes;
    const value: Record<string, unknown> = {
      ...extensions,
      type: draft.type,
      schemaversion: draft.version,
      correlationid: correlationId,
      causationid: causationId,
    };
    if (traceparent !== null) value.traceparent = traceparent;
    if (id !== undefined) value.id = id;
    if (subject !== undefined) value.subject = subject;
    if (partitionKey !== undefined) value.partitionkey = partitionKey;
    if (time !== undefined) value.time = time;
    const text = JSON.stringify(draft.data) as string | undefined;
    if (text === undefined) throw refused([{ path: "/data", message: "is no JSON" }]);
    const refusal = refusalOf(text);
    if (refusal !== null) throw refused([{ path: "/data", message: refusal }]);
    const found: Violation[] = [];
    const context: ParseContext = { stream, service, idempotencyKey: null };
    const event = toEvent({ value, data: text }, "", context, 0, found);
    if (event === null) throw refused(found);
    if (event.bytes > maxEventBytes)
      throw refused([{ path: "", message: `it has ${event.bytes} bytes, and ${maxEventBytes} are allowed` }]);
    return event;
  };
}

/** What the log refuses of a text that was made of a value: it can hold escapes and be nested deeply, but only so deeply for its length. */
function refusalOf(text: string): Refusal {
  if (text.length < shallowBelow && !text.includes("\\u")) return null;
  const walk = new JsonWalk(text);
  walk.value();
  return walk.refusal;
}

/** Code emitted what cannot be stored. */
export function refusedEmission(subject: string, violations: readonly Violation[]): Defect {
  return new Defect(`it emitted ${subject}: ${inWords(violations)}`, violations);
}
