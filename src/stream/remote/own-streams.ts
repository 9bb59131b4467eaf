// Which streams of this service a remote source leads to: over NATS a service can come to what it publishes itself.
import { forbidden, invalidConfiguration } from "../../base/errors.ts";
import type { Principal } from "../../base/principal.ts";
import type { Pool } from "../../storage/pool.ts";
import { type Naming, namesOf, subjectFilter } from "../cross-service/names.ts";
import type { RemoteSource } from "./definition.ts";

/**
 * What is mirrored becomes events of the local stream, which others may read who may not read the source: whoever mirrors streams
 * of the service itself has to be allowed to read them. Throws `forbidden`, and `invalid-configuration` where a stream would
 * mirror itself.
 */
export async function requireMirrorable(
  pool: Pool,
  local: string,
  source: RemoteSource,
  naming: Naming,
  principal: Pick<Principal, "canRead">,
): Promise<void> {
  const own = await ownStreamsOf(pool, source, naming);
  if (own.includes(local)) {
    const path = "service" in source ? "/stream" : "jetstream" in source ? "/jetstream" : "/subject";
    throw invalidConfiguration([{ path, message: "leads to what the local stream itself publishes" }]);
  }
  if (!own.every(principal.canRead))
    throw forbidden("Mirroring a stream of this service that one may not read is not allowed");
}

/** By the names that the cross-service streams have in NATS now, and as they would be of one that is not cross-service yet. */
async function ownStreamsOf(pool: Pool, source: RemoteSource, naming: Naming): Promise<string[]> {
  const published = await pool.run(
    (sql) => sql<{ name: string; jetstream: string; subject: string }[]>`
      select s.name, c.nats_stream as jetstream, c.nats_subject as subject
      from cross_service_streams c join streams s on s.id = c.stream_id`,
  );
  const names = (isMeant: (stream: { jetstream: string; subject: string }) => boolean) =>
    published.filter(isMeant).map(({ name }) => name);
  if ("service" in source) {
    const { stream: jetstream } = namesOf(source.stream, { ...naming, service: source.service });
    const named = source.service === naming.service ? [source.stream] : [];
    return [...named, ...names((stream) => stream.jetstream === jetstream)];
  }
  if ("jetstream" in source) return names((stream) => stream.jetstream === source.jetstream);
  return names(({ subject }) => canMeet(source.subject, subjectFilter(subject)));
}

/** Whether a subject can match both: `*` stands for one token, `>` at the end for one or more. */
function canMeet(one: string, other: string): boolean {
  const [mine, theirs] = [one.split("."), other.split(".")];
  for (let n = 0; n < Math.max(mine.length, theirs.length); n++) {
    const [a, b] = [mine[n], theirs[n]];
    if (a === undefined || b === undefined) return false;
    if (a === ">" || b === ">") return true;
    if (a !== b && a !== "*" && b !== "*") return false;
  }
  return true;
}
