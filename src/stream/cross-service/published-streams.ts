// The streams that are shared with other services, and where in NATS their events are.
import type { Pool } from "../../storage/pool.ts";
import type { NatsSettings } from "./settings.ts";

/** `subject` is that of its events, the token `{type}` last or not at all; `mode` is null where the service's default holds. */
export type PublishedStream = { name: string; jetstream: string; subject: string; mode: NatsSettings["mode"] };

/** At most so many, in the order of their names. */
export async function readPublishedStreams(pool: Pool, limit: number): Promise<PublishedStream[]> {
  const rows = await pool.run(
    (sql) => sql<PublishedStream[]>`
      select s.name, c.nats_stream as jetstream, c.nats_subject as subject, c.mode
      from cross_service_streams c join streams s on s.id = c.stream_id
      order by s.name limit ${limit}`,
  );
  return [...rows];
}
