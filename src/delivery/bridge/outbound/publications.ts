// Which streams are published, and how the publishing of each stands, whichever process does it.
import type { Pool } from "../../../storage/pool.ts";
import { fromSettingsRow, type SettingsRow } from "../../../stream/cross-service/settings.ts";
import type { StreamDefaults } from "../settings.ts";
import type { Published } from "./publisher.ts";
import type { PublishingState } from "./state.ts";
import { wantedOf } from "./topology.ts";

/** The streams that are to be published now. */
export async function readPublished(pool: Pool, service: string, defaults: StreamDefaults): Promise<Published[]> {
  const rows = await pool.run(
    (sql) => sql<(SettingsRow & { id: string; name: string })[]>`
      select s.id, s.name, c.nats_stream, c.nats_subject, c.mode, c.replicas, c.storage,
             c.max_age_ms::float8 as max_age_ms, c.max_bytes::float8 as max_bytes, c.max_events::float8 as max_events
      from cross_service_streams c join streams s on s.id = c.stream_id order by s.id`,
  );
  return rows.map((row) => {
    const settings = fromSettingsRow(row);
    const names = { stream: row.nats_stream, subject: row.nats_subject };
    return {
      streamId: Number(row.id),
      stream: row.name,
      subject: row.nats_subject,
      mode: settings.mode ?? defaults.mode,
      wanted: wantedOf({ ...settings, ...names }, defaults, `sluice ${service}/${row.name}`),
    };
  });
}

export type OutboundStanding = {
  stream: string;
  jetstream: string;
  subject: string;
  /** `waiting` where no process publishes now. */
  state: PublishingState;
  error: string | null;
  since: string | null;
  /** Of the last event that is known to be published, -1 before the first. */
  offset: number;
  sequence: number | null;
  created: string | null;
  confirmedAt: string | null;
  lagEvents: number;
  lagSeconds: number;
  withheld: number;
};

type StandingRow = {
  stream: string;
  jetstream: string;
  subject: string;
  state: PublishingState;
  error: string | null;
  since: string | null;
  offset: string;
  sequence: string | null;
  created: string | null;
  confirmed_at: string | null;
  lag_events: string;
  lag_seconds: number;
  withheld: string;
};

/** How the streams stand that come behind a name, by name. */
export async function readStandings(pool: Pool, after: string, limit: number): Promise<OutboundStanding[]> {
  const rows = await pool.run(
    (sql) => sql<StandingRow[]>`
      select b.* from stream_publications b where b.stream > ${after} order by b.stream limit ${limit}`,
  );
  return rows.map((row) => ({
    stream: row.stream,
    jetstream: row.jetstream,
    subject: row.subject,
    state: row.state,
    error: row.error,
    since: row.since,
    offset: Number(row.offset),
    sequence: row.sequence === null ? null : Number(row.sequence),
    created: row.created,
    confirmedAt: row.confirmed_at,
    lagEvents: Number(row.lag_events),
    lagSeconds: row.lag_seconds,
    withheld: Number(row.withheld),
  }));
}

export type WithheldEvent = { offset: string; id: string; type: string; reason: string; withheldAt: string };

/** A page of the events of a stream that the server did not take, behind an offset; null where there is no such stream. */
export async function readWithheld(
  pool: Pool,
  stream: string,
  after: number,
  limit: number,
): Promise<WithheldEvent[] | null> {
  return pool.run(async (sql) => {
    const rows = await sql<{ offset: string; event_id: string; type: string; reason: string; withheld_at: string }[]>`
      select w."offset", w.event_id, w.type, w.reason, w.withheld_at
      from streams s
        join bridge_cursors c on c.stream_id = s.id
        left join cross_service_streams x on x.stream_id = s.id
        join bridge_withheld w on w.stream_id = s.id and w.nats_stream = coalesce(x.nats_stream, c.nats_stream)
      where s.name = ${stream} and w."offset" > ${after} order by w."offset" limit ${limit}`;
    if (rows.length === 0) {
      const known = await sql`select from streams s where s.name = ${stream} and s.created_at is not null`;
      if (known.length === 0) return null;
    }
    return rows.map((row) => ({
      offset: row.offset,
      id: row.event_id,
      type: row.type,
      reason: row.reason,
      withheldAt: row.withheld_at,
    }));
  });
}
