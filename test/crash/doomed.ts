// Doomed streams: written to in every way, deleted again and again meanwhile, and written to again.
import { setTimeout as sleep } from "node:timers/promises";
import type { Append } from "./append-client.ts";
import { anyService, repeatable, size, type Turn, type Writer } from "./writer.ts";

export const doomedStreams = ["doomed-0", "doomed-1"] as const;

const anyDoomed = (writer: Writer) => writer.random.pick(doomedStreams);

export function doomedPlain(): Turn {
  return async (writer) => {
    await writer.client.attempt(writer.append(anyDoomed(writer), size(writer)), anyService(writer));
    // A burst leaves more than one piece of work to the purge.
    if (writer.random.chance(0.02))
      await writer.client.attempt(writer.append(anyDoomed(writer), 1_000), anyService(writer));
  };
}

/** Repetitions may fall into a later life of the stream, and are stored there once more. */
export function doomedWithIds(): Turn {
  const earlier: Append[] = [];
  return (writer) => repeatable(writer, earlier, () => writer.append(anyDoomed(writer), size(writer), { ids: true }));
}

export function doomedKeys(): Turn {
  const earlier: Append[] = [];
  let keys = 0;
  return (writer) =>
    repeatable(writer, earlier, () =>
      writer.append(anyDoomed(writer), size(writer), { key: `${writer.name}-key-${keys++}` }),
    );
}

/**
 * Compares and sets the version, which goes on over deletions. Nothing is repeated: a repetition of what was stored and
 * then deleted would rightly be refused.
 */
export function comparingDoomed(): Turn {
  const versions = new Map<string, number>();
  return async (writer) => {
    const stream = anyDoomed(writer);
    const append = writer.append(stream, size(writer), { expected: versions.get(stream) ?? -1 });
    const answered = await writer.client.attempt(append, anyService(writer));
    const last = answered.stored.at(-1)?.offset ?? answered.actual;
    if (last !== null) versions.set(stream, last);
    await sleep(writer.random.between(0, 30));
  };
}

/** Deletes now this, now that stream; at times twice, and then at both services at once. */
export function deleting(): Turn {
  return async (writer) => {
    const { random, deletions, services } = writer;
    await sleep(random.between(20, random.chance(0.2) ? 3_000 : 600));
    const stream = anyDoomed(writer);
    if (!random.chance(0.2)) await deletions.attempt(stream, anyService(writer));
    else if (services > 1) await Promise.all([deletions.attempt(stream, 0), deletions.attempt(stream, 1)]);
    else for (let i = 0; i < 2; i++) await deletions.attempt(stream, 0);
  };
}
