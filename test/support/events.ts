// Makes events of the log for tests that need no database.
import type { StoredEvent } from "../../src/stream/event.ts";

export function storedEvent(given: Partial<StoredEvent> & { position: number }): StoredEvent {
  return {
    stream: "s",
    ephemeral: false,
    offset: given.position,
    recordedTime: "2026-01-01T00:00:00.000Z",
    id: `e-${given.position}`,
    type: "T",
    schemaVersion: 1,
    correlationId: null,
    partitionKey: null,
    attributes: '{"source":"/test"}',
    data: "{}",
    binary: null,
    line: null,
    lineRevision: -1,
    shown: null,
    ...given,
  };
}
