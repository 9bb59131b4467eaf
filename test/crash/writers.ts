// Writers: each appends in its own way, by decisions of its own seeded source, until it is told to stop.
import { setTimeout as sleep } from "node:timers/promises";
import type { Append } from "./append-client.ts";
import { comparingDoomed, deleting, doomedKeys, doomedPlain, doomedWithIds } from "./doomed.ts";
import { anyService, repeatable, runTurns, size, type Turn, type WritersOptions } from "./writer.ts";

const plainStreams = ["orders", "stock", "bulk"] as const;
const hotStreams = ["hot-0", "hot-1"] as const;

/** Runs all writers; resolves when each has the outcome of its last request. */
export async function runWriters(options: WritersOptions): Promise<void> {
  await runTurns(options, [
    ["plain-0", plain],
    ["plain-1", plain],
    ["arrays", arrays],
    ["bulk", bulk],
    ["ids-0", withIds],
    ["ids-1", withIds],
    ["keys-0", withKeys],
    ["keys-1", withKeys],
    ["cas-0", comparing],
    ["cas-1", comparing],
    ["cas-2", comparing],
    ["new", onNewStreams],
    ["doomed-0", doomedPlain],
    ["doomed-1", doomedPlain],
    ["doomed-ids", doomedWithIds],
    ["doomed-keys", doomedKeys],
    ["doomed-cas", comparingDoomed],
    ["deleting", deleting],
  ]);
}

function plain(): Turn {
  return async (writer) => {
    await writer.client.attempt(writer.append(writer.random.pick(plainStreams), 1), anyService(writer));
  };
}

function arrays(): Turn {
  return async (writer) => {
    await writer.client.attempt(
      writer.append(writer.random.pick(plainStreams), writer.random.between(2, 20)),
      anyService(writer),
    );
  };
}

function bulk(): Turn {
  return async (writer) => {
    await writer.client.attempt(writer.append("bulk", writer.random.between(50, 300)), anyService(writer));
    await sleep(writer.random.between(20, 200));
  };
}

/** Gives ids; repeats what had no outcome, at times what had one, and at times sends the same twice at once. */
function withIds(): Turn {
  const earlier: Append[] = [];
  return (writer) =>
    repeatable(writer, earlier, () => writer.append(writer.random.pick(plainStreams), size(writer), { ids: true }));
}

/** Gives an Idempotency-Key instead of ids. */
function withKeys(): Turn {
  const earlier: Append[] = [];
  let keys = 0;
  return (writer) =>
    repeatable(writer, earlier, () =>
      writer.append(writer.random.pick(plainStreams), size(writer), {
        key: `${writer.name}-key-${keys++}`,
        ids: writer.random.chance(0.2),
      }),
    );
}

/** Compares and sets the version of a hot stream, at times with ids or a key, and then repeats what had no outcome. */
function comparing(): Turn {
  const versions = new Map<string, number>();
  let keys = 0;
  return async (writer) => {
    const { random, client } = writer;
    const stream = random.pick(hotStreams);
    const expected = versions.get(stream) ?? -1;
    const how = random.pick(["once", "ids", "key"]);
    const append = writer.append(stream, random.chance(0.2) ? 3 : 1, {
      expected,
      ids: how === "ids",
      key: how === "key" ? `${writer.name}-key-${keys++}` : null,
    });
    const answered = await (how === "once" ? client.attempt(append, anyService(writer)) : client.settle(append));
    const last = answered.stored.at(-1)?.offset;
    if (last !== undefined) versions.set(stream, last);
    else if (answered.actual !== null) versions.set(stream, answered.actual);
    // Lets the others win at times, or a fast writer is never refused.
    await sleep(random.between(0, 30));
  };
}

/** Appends to streams that are not there yet, at both services at once. */
function onNewStreams(): Turn {
  let streams = 0;
  return async (writer) => {
    const stream = `new-${streams}`;
    const expected = writer.random.chance(0.5) ? -1 : null;
    const all = Array.from({ length: 2 }, (_, i) => ({
      append: writer.append(stream, size(writer), { expected }),
      service: i % writer.services,
    }));
    if (writer.services > 1)
      await Promise.all(all.map(({ append, service }) => writer.client.attempt(append, service)));
    else for (const { append, service } of all) await writer.client.attempt(append, service);
    if (writer.random.chance(0.3)) streams++;
    await sleep(writer.random.between(20, 100));
  };
}
