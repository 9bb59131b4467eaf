// What events were brought to is kept beside them, within a bound, and for as long as the registry stays as it was.
import { expect, test } from "bun:test";
import { sizeOf } from "../../../src/stream/event.ts";
import { createShownEvents } from "../../../src/stream/schema/shown-events.ts";
import { storedEvent } from "../../support/events.ts";

test("the oldest are let go beyond the bound, whatever is kept of them", () => {
  const events = Array.from({ length: 10 }, (_, n) => storedEvent({ position: n, data: "x".repeat(1_000) }));
  const [first] = events;
  const shown = createShownEvents(() => 1, 4 * sizeOf(first as (typeof events)[number]) + 4 * 600);
  for (const event of events) shown.keep(event, 2, { failure: "no", passing: false }, 1);
  expect(events.map((event) => shown.get(event, 2) !== null)).toEqual([
    ...Array(6).fill(false),
    ...Array(4).fill(true),
  ]);
  const small = createShownEvents(() => 1, 1);
  const kept = storedEvent({ position: 1 });
  small.keep(kept, 2, kept, 1);
  expect(small.get(kept, 2)).toBeNull();
});

test("what was made by an earlier revision is made anew", () => {
  let revision = 1;
  const shown = createShownEvents(() => revision, 1e6);
  const event = storedEvent({ position: 1 });
  const [two, three] = [storedEvent({ position: 1 }), storedEvent({ position: 1 })];
  shown.keep(event, 2, two, 1);
  shown.keep(event, 3, three, 1);
  expect([shown.get(event, 2), shown.get(event, 3), shown.get(event, 4)]).toEqual([two, three, null]);
  revision = 2;
  expect(shown.get(event, 2)).toBeNull();
  // It was on its way while the registry changed.
  shown.keep(event, 2, two, 1);
  expect(shown.get(event, 2)).toBeNull();
});
