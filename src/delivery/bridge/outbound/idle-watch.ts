// Looks at JetStream's stream now and then while nothing is published: that it was deleted, wiped or restored is told by nobody.
import { pause } from "../../../base/pause.ts";
import { unlessAborted } from "../../../base/unless-aborted.ts";
import type { NatsStream } from "../jetstream.ts";

export type IdleWatchOptions = {
  find: () => Promise<NatsStream | null>;
  /** When the stream was made that is published to. */
  created: string;
  /** The sequence of the last message; null while some are not confirmed. */
  confirmed: () => number | null;
  everyMs: number;
};

/** Resolves with what is not as it was left; null when the signal fires first. */
export async function watchIdle(
  { find, created, confirmed, everyMs }: IdleWatchOptions,
  signal: AbortSignal,
): Promise<string | null> {
  for (;;) {
    // Not all streams at the same moment.
    await pause(everyMs * (1 - Math.random() / 4), signal);
    if (signal.aborted) return null;
    const sequence = confirmed();
    if (sequence === null) continue;
    // Who does not answer is asked again the next time.
    const found = await unlessAborted(find(), signal).catch(() => undefined);
    if (found === undefined || confirmed() !== sequence) continue;
    if (found === null) return "it is not there any more";
    if (found.created !== created) return "it was made anew";
    if (found.lastSequence !== sequence) return `its last sequence is ${found.lastSequence}, not ${sequence}`;
  }
}
