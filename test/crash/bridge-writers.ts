// Writers of the publishing service: many events in arrays, single ones, repeated ones, large ones, until they are told to stop.
import { setTimeout as sleep } from "node:timers/promises";
import { type Append, createAppendClient, type NewEvent } from "./append-client.ts";
import {
  type BridgedStream,
  bridgedStreams,
  checkedType,
  greatestN,
  lateType,
  oddTypes,
  oversizedBytes,
} from "./bridged.ts";
import type { Random } from "./random.ts";
import { anyService, repeatable, runTurns, type Turn, type Writer, type WritersOptions } from "./writer.ts";

export type BridgeWritersOptions = WritersOptions & {
  /** How many milliseconds the writers of arrays rest, at most. */
  restMs: number;
};

/** Runs all writers; resolves when each has the outcome of its last request. */
export async function runBridgeWriters(options: BridgeWritersOptions): Promise<void> {
  const kinds: [string, () => Turn][] = [
    ...bridgedStreams.map(({ stream }, n): [string, () => Turn] => [`bulk-${stream}`, () => bulk(n, options.restMs)]),
    ["single-0", single],
    ["single-1", single],
    ["ids", withIds],
    ["keys", withKeys],
    ["large", large],
  ];
  await runTurns(options, kinds);
}

/** Appends an event to each stream, after which nobody appends any more: what was emptied is noticed by the next event. */
export async function appendLast(options: WritersOptions): Promise<void> {
  let op = 1e9;
  const random = options.random.fork("last");
  const client = createAppendClient({ ...options, random, nextOp: () => op++ });
  for (const { stream } of bridgedStreams) {
    const event = { id: `last-${stream}`, mark: `last-${stream}/0`, type: checkedType, n: 0, pad: "" };
    await client.settle({ group: `last-${stream}`, stream, events: [event], expected: null, key: null });
  }
  client.close();
}

/** Arrays to one stream, half of them with ids of their own, so that they are there once whatever ends in between. */
function bulk(which: number, restMs: number): Turn {
  const to = bridgedStreams[which] as BridgedStream;
  return async (writer) => {
    const { random, client } = writer;
    const append = request(writer, to, random.between(50, 300), { ids: random.chance(0.5) });
    // Often enough the last that a mirror has seen when JetStream is emptied is one that it refused.
    const last = append.events.at(-1);
    if (last !== undefined && random.chance(0.3)) last.n = greatestN + 1;
    if (append.events[0]?.id === null) await client.attempt(append, anyService(writer));
    else await client.settle(append);
    await sleep(random.between(0, restMs));
  };
}

function single(): Turn {
  return async (writer) => {
    const append = request(writer, writer.random.pick(bridgedStreams), 1, { ids: false });
    await writer.client.attempt(append, anyService(writer));
  };
}

function withIds(): Turn {
  const earlier: Append[] = [];
  return (writer) =>
    repeatable(writer, earlier, () =>
      request(writer, writer.random.pick(bridgedStreams), writer.random.between(1, 5), { ids: true }),
    );
}

function withKeys(): Turn {
  const earlier: Append[] = [];
  let keys = 0;
  return (writer) =>
    repeatable(writer, earlier, () => ({
      ...request(writer, writer.random.pick(bridgedStreams), writer.random.between(1, 5), { ids: false }),
      key: `${writer.name}-key-${keys++}`,
    }));
}

/** Events of about 100 kB, and some that NATS does not take. */
function large(): Turn {
  return async (writer) => {
    const { random } = writer;
    const to = random.pick(bridgedStreams.filter(({ isStrict }) => !isStrict));
    const append = request(writer, to, random.between(1, 3), { ids: true });
    for (const event of append.events)
      event.pad = "x".repeat(random.chance(0.15) ? oversizedBytes : random.between(50_000, 120_000));
    await writer.client.settle(append);
    await sleep(random.between(100, 800));
  };
}

function request(writer: Writer, to: BridgedStream, size: number, given: { ids: boolean }): Append {
  const append = writer.append(to.stream, size, given);
  return { ...append, events: append.events.map((event) => ({ ...event, ...changes(writer.random, to) })) };
}

function changes(random: Random, { isStrict }: BridgedStream): Partial<NewEvent> {
  // One in a hundred does not match; those of the other streams are not looked at.
  const n = random.chance(0.01) ? random.between(greatestN + 1, greatestN + 10) : random.between(0, greatestN);
  return {
    n,
    type: isStrict ? (random.chance(0.04) ? lateType : checkedType) : random.pick(oddTypes),
    pad: random.chance(0.02) ? "x".repeat(random.between(1, 5_000)) : "",
    partitionKey: random.chance(0.5) ? null : `key ${random.between(0, 99)}`,
    attributes: random.chance(0.3)
      ? { correlationid: `c/${random.between(0, 999)} ü`, region: random.pick(["eu", "50 %"]) }
      : {},
  };
}
