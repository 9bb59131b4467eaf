// Sees to it that a stream's JetStream stream is there and is as configured; or, where others make it, that it takes the stream's events.
import { subjectFilter } from "../../../stream/cross-service/names.ts";
import type { NatsSettings } from "../../../stream/cross-service/settings.ts";
import { JetStreamError, type Nats, type NatsStream, type StreamSettings, subjectsOverlap } from "../jetstream.ts";
import type { StreamDefaults } from "../settings.ts";

/** JetStream's stream is not as it must be; a plain sentence says why. */
class UnfitTopology extends Error {}

export type Wanted = { name: string; subject: string; settings: StreamSettings };

const duplicateWindowMs = 120_000;

/** What the stream is to have in JetStream. `owner`: stands in its description, so that it is known again. */
export function wantedOf(
  { stream, subject, ...own }: NatsSettings & { stream: string; subject: string },
  defaults: StreamDefaults,
  owner: string,
): Wanted {
  const maxAgeMs = own.maxAgeMs ?? defaults.maxAgeMs ?? 0;
  return {
    name: stream,
    subject: subjectFilter(subject),
    settings: {
      maxAgeMs,
      maxBytes: own.maxBytes ?? defaults.maxBytes ?? -1,
      maxMessages: own.maxEvents ?? defaults.maxEvents ?? -1,
      replicas: own.replicas ?? defaults.replicas,
      storage: own.storage ?? defaults.storage,
      // JetStream refuses a window that is longer than it keeps messages.
      duplicateWindowMs: maxAgeMs === 0 ? duplicateWindowMs : Math.min(duplicateWindowMs, maxAgeMs),
      description: owner,
    },
  };
}

/** Returns the JetStream stream, and what of it could not be changed. Throws `UnfitTopology`, and what JetStream refuses. */
export async function ensureStream(
  nats: Pick<Nats, "findStream" | "createStream" | "updateStream">,
  wanted: Wanted,
  topology: "create" | "verify",
): Promise<{ stream: NatsStream; unchanged: string | null }> {
  const { name, subject, settings } = wanted;
  const found = await nats.findStream(name);
  if (found === null) {
    if (topology === "verify")
      throw new UnfitTopology(
        `the JetStream stream ${name} with the subjects ${subject} does not exist: it is not made here`,
      );
    try {
      return { stream: await nats.createStream(name, [subject], settings), unchanged: null };
    } catch (error) {
      if (error instanceof JetStreamError && error.code === subjectsOverlap)
        throw new UnfitTopology(`another JetStream stream has subjects that overlap with ${subject}`, { cause: error });
      throw error;
    }
  }
  const takes = found.subjects.some((pattern) => covers(pattern, subject));
  const isOurs = found.config.description === settings.description;
  const isEqual = found.subjects.length === 1 && found.subjects[0] === subject;
  if (!takes && (topology === "verify" || !isOurs))
    throw new UnfitTopology(
      `the JetStream stream ${name} is somebody else's: it has the subjects ${found.subjects.join(", ") || "of none"}, not ${subject}`,
    );
  if (topology === "verify" || !isOurs || (isEqual && isAlike(found.config, settings)))
    return { stream: found, unchanged: null };
  try {
    return { stream: await nats.updateStream(name, [subject], settings), unchanged: null };
  } catch (error) {
    if (!(error instanceof JetStreamError) || !takes) throw error;
    // It takes the events as it is.
    return { stream: found, unchanged: `the JetStream stream ${name} stays as it was: ${error.message}` };
  }
}

function isAlike(one: StreamSettings, other: StreamSettings): boolean {
  return (Object.keys(other) as (keyof StreamSettings)[]).every((key) => one[key] === other[key]);
}

/** Whether every subject of a pattern is one of another, by the rules of NATS. */
function covers(wide: string, narrow: string): boolean {
  const [wideTokens, narrowTokens] = [wide.split("."), narrow.split(".")];
  for (const [n, token] of wideTokens.entries()) {
    if (token === ">") return narrowTokens.length > n;
    const mine = narrowTokens[n];
    if (mine === undefined || mine === ">" || (token !== "*" && token !== mine)) return false;
  }
  return wideTokens.length === narrowTokens.length;
}
