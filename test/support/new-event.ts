// Events as the parser would make them, for tests that go around it.
import { contentHash, uuidv7 } from "../../src/base/ids.ts";
import type { NewEvent } from "../../src/stream/event.ts";

/** An event of the type "A"; with an id it is one that the producer named. */
export function newEvent(fields: Partial<NewEvent> = {}): NewEvent {
  const event: NewEvent = {
    id: uuidv7(),
    known: fields.id !== undefined,
    hash: null,
    source: "/test",
    type: "A",
    schemaVersion: 1,
    correlationId: null,
    partitionKey: null,
    attributes: '{"source":"/test"}',
    data: null,
    binary: null,
    bytes: 100,
    ...fields,
  };
  return event.known && event.hash === null ? { ...event, hash: contentHash([event.type, event.data ?? ""]) } : event;
}
