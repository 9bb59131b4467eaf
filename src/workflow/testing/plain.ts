// What all specifications have in common: values as they are after JSON, and events as handlers see them.
import assert from "node:assert/strict";
import type { TSchema } from "@sinclair/typebox";
import { inWords } from "../../base/violations.ts";
import type { DraftEvent } from "../events/draft-event.ts";
import type { EventContext } from "../events/recorded-event.ts";
import { checkerOf } from "../handlers/checker.ts";
import { notJson } from "../handlers/json-value.ts";

export function shown({ type, version, data, attributes }: DraftEvent) {
  return { type, version, data, attributes };
}

/** Equal as JSON: members that are undefined are not there. */
export function same(actual: unknown, expected: unknown, what: string): void {
  const plain = (value: unknown) => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
  assert.deepEqual(
    plain(actual),
    plain(expected),
    `${what} should be ${JSON.stringify(expected)}, not ${JSON.stringify(actual)}`,
  );
}

export function upcast(
  type: { versions: readonly { upcast: ((data: unknown) => unknown) | null }[] },
  from: number,
  data: unknown,
) {
  let upcast = data;
  for (const hop of type.versions.slice(from)) if (hop.upcast !== null) upcast = hop.upcast(upcast);
  return JSON.parse(JSON.stringify(upcast)) as unknown;
}

export function ofJson(value: unknown, what: string, schema: TSchema): unknown {
  const odd = notJson(value);
  const violations = odd === null ? checkerOf(schema)(value) : [odd];
  if (violations !== null) throw new Error(`${what} is not what its schema says: ${inWords(violations)}`);
  return JSON.parse(JSON.stringify(value));
}

/** What handlers are told of an event besides its data. Its time is its own; without one, one that is always the same. */
export function contextOf(
  { type, attributes }: DraftEvent,
  offset: number,
  known: Partial<Pick<EventContext, "stream" | "correlationId" | "recordedTime">> = {},
): EventContext {
  const { id = `event-${offset}`, partitionKey = null, extensions, subject, time } = attributes;
  return {
    id,
    type,
    stream: "specified",
    offset,
    position: offset,
    recordedTime: time ?? "2000-01-01T00:00:00.000Z",
    correlationId: null,
    partitionKey,
    ...known,
    attributes: {
      ...extensions,
      ...(subject === undefined ? {} : { subject }),
      ...(time === undefined ? {} : { time }),
    },
  };
}
