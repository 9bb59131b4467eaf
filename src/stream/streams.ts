// Creates, configures, lists, describes and deletes streams.
import { deliveryInUse, invalidConfiguration, natsNameTaken, streamNotFound, streamTypeFixed } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import { classify } from "../storage/pg-errors.ts";
import type { Pool, Sql } from "../storage/pool.ts";
import { maxSubjectLength, type Naming, type NatsNames, namesOf } from "./cross-service/names.ts";
import { toSettingsRow } from "./cross-service/settings.ts";
import { validations } from "./schema/validation.ts";
import { describeConfiguration, type StreamConfiguration, type StreamSettings } from "./stream-configuration.ts";
import { fromHeadRow, type HeadRow, readStreamHeads, type StreamHead } from "./stream-head.ts";

/** A stream as the API shows it; 64-bit numbers are decimal strings. */
export type StreamDescription = StreamSettings & {
  name: string;
  createdAt: string;
  length: string;
  firstOffset: string | null;
  lastOffset: string | null;
  firstTime: string | null;
  lastTime: string | null;
  bytes: string;
  /** Events that the queue of an ephemeral stream has not settled; null of a persistent one, as the next. */
  pending: string | null;
  deadLetters: string | null;
};

type Edges = {
  first_time: string | null;
  last_time: string | null;
  pending: string | null;
  dead_letters: string | null;
};

const subscriptionsNamed = 20;

/**
 * Creates the stream or changes its configuration. Its names in NATS are decided now, and stay until it is configured anew.
 * Returns whether it is new. Throws `invalid-configuration`, `stream-type-fixed`, `delivery-in-use`, `nats-name-taken`.
 */
export async function configureStream(
  pool: Pool,
  name: string,
  configuration: StreamConfiguration,
  naming: Naming,
): Promise<boolean> {
  const { ephemeral, delivery, validation, replay, retention, queue, crossService } = configuration;
  const names = crossService === null ? null : namesOf(name, naming, crossService);
  if (names !== null && names.subject.length > maxSubjectLength)
    throw invalidConfiguration([
      {
        path: "/nats/subject",
        message: `comes to a subject of more than ${maxSubjectLength} characters for this stream`,
      },
    ]);
  const nats = crossService === null || names === null ? null : JSON.stringify(toSettingsRow(crossService, names));
  const { maxAgeMs, maxBytes, maxEvents } = retention;
  const outcome = await pool.run(async (sql) => {
    const rows = await sql<{ outcome: Outcome }[]>`
      select stream_configure(
        ${name}, ${ephemeral}, ${delivery}, ${replay}, ${maxAgeMs}, ${maxBytes}, ${maxEvents},
        ${queue.visibilityTimeoutMs}, ${queue.maxAttempts},
        ${queue.backoffInitialMs}, ${queue.backoffFactor}, ${queue.backoffMaxMs}, ${validations.indexOf(validation)}, ${nats}::text::json) as outcome`;
    return rows[0]?.outcome;
  });
  if (outcome === "type-fixed") throw streamTypeFixed(name, ephemeral ? "persistent" : "ephemeral");
  if (outcome === "delivery-in-use")
    throw deliveryInUse(name, delivery, await strongerSubscriptions(pool, name, delivery));
  if (outcome === "nats-name-taken" && names !== null)
    throw natsNameTaken(name, names, (await holderOf(pool, name, names)) ?? "another stream");
  return outcome === "created";
}

type Outcome = "created" | "configured" | "type-fixed" | "delivery-in-use" | "nats-name-taken";

/** The stream that has the name or the subjects in NATS; null when it has given them up meanwhile. */
async function holderOf(pool: Pool, stream: string, { stream: jetstream, subject }: NatsNames): Promise<string | null> {
  const rows = await pool.run(
    (sql) => sql<{ name: string }[]>`
      select s.name from cross_service_streams c join streams s on s.id = c.stream_id
      where s.name <> ${stream} and (c.nats_stream = ${jetstream} or nats_subjects_overlap(c.nats_subject, ${subject}))
      order by s.name limit 1`,
  );
  return rows[0]?.name ?? null;
}

/** Some of the subscriptions that promise more than this. */
async function strongerSubscriptions(pool: Pool, stream: string, delivery: string): Promise<string[]> {
  const rows = await pool.run(
    (sql) => sql<{ name: string }[]>`
      select s.name from subscription_streams t join subscriptions s on s.id = t.subscription_id
      where t.stream = ${stream} and s.queue_of is null and s.deleted_at is null
        and delivery_strength(s.delivery) > delivery_strength(${delivery})
      order by s.name limit ${subscriptionsNamed}`,
  );
  return rows.map(({ name }) => name);
}

/** One stream, and the version that an append to it has to expect, -1 when nothing was ever appended. Throws `stream-not-found`. */
export async function describeStream(
  pool: Pool,
  name: string,
): Promise<{ description: StreamDescription; version: number }> {
  return pool.run(async (sql) => {
    const [head] = await readStreamHeads(sql, [name]);
    if (head === undefined || !head.exists) throw streamNotFound(name);
    const [edges] = await readEdges(sql, [head]);
    return { description: describe(head, edges as Edges), version: head.lastOffset };
  });
}

export type StreamList = { streams: StreamDescription[]; next: string | null };

/** A page of the streams whose names begin with `prefix`, in the order of their names (by code point). */
export async function listStreams(
  pool: Pool,
  principal: Principal,
  prefix: string,
  after: string,
  limit: number,
): Promise<StreamList> {
  return pool.run(async (sql) => {
    const heads: StreamHead[] = [];
    let cursor = after;
    // Names that the principal may not see are passed over, however many there are.
    for (;;) {
      const rows = await sql<HeadRow[]>`
        select h.* from stream_heads h
        where h.name > ${cursor} and h.name >= ${prefix} and starts_with(h.name, ${prefix})
          and not h.internal and h.created_at is not null
        order by h.name limit ${limit + 1}`;
      for (const row of rows) if (heads.length <= limit && principal.canRead(row.name)) heads.push(fromHeadRow(row));
      cursor = rows.at(-1)?.name ?? cursor;
      if (heads.length > limit || rows.length <= limit) break;
    }
    const shown = heads.slice(0, limit);
    const edges = await readEdges(sql, shown);
    return {
      streams: shown.map((head, i) => describe(head, edges[i] as Edges)),
      next: heads.length > limit ? (shown.at(-1)?.name ?? null) : null,
    };
  });
}

const maxAttempts = 5;

/**
 * Deletes a stream; its name can be used again and its offsets go on. Throws `stream-not-found`. The control record takes
 * a position: `onNoPartition` makes room where there is none, and resolves when it is worth trying again.
 */
export async function deleteStream(
  pool: Pool,
  name: string,
  onNoPartition: () => Promise<void>,
): Promise<{ position: number }> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await pool.run(async (sql) => {
        const rows = await sql<{ position: string }[]>`select position from stream_delete(${name})`;
        if (rows[0] === undefined) throw streamNotFound(name);
        return { position: Number(rows[0].position) };
      });
    } catch (error) {
      if (classify(error).kind !== "no-partition" || attempt === maxAttempts) throw error;
      await onNoPartition();
    }
  }
}

/** The times of the first and last events, and how an ephemeral stream's queue stands. */
async function readEdges(sql: Sql, heads: readonly StreamHead[]): Promise<Edges[]> {
  if (heads.length === 0) return [];
  const rows = await sql<Edges[]>`
    select
      (select e.recorded_at from events e where e.stream_id = h.id and e.position >= h.first_offset and e."offset" >= h.first_offset
       order by e.position limit 1) as first_time,
      (select e.recorded_at from events e where e.position = h.last_position and e.stream_id = h.id and e."offset" >= h.first_offset) as last_time,
      q.pending, q.dead_letters
    from json_to_recordset(${JSON.stringify(
      heads.map((h, n) => ({
        n,
        id: h.id,
        ephemeral: h.configuration.ephemeral,
        first_offset: h.firstOffset,
        last_position: h.lastPosition,
      })),
    )}::text::json) as h(n int, id bigint, ephemeral boolean, first_offset bigint, last_position bigint)
      left join lateral queue_state(h.id) q on h.ephemeral
    order by h.n`;
  return [...rows];
}

function describe(head: StreamHead, edges: Edges): StreamDescription {
  const empty = head.lastOffset < head.firstOffset;
  return {
    name: head.name,
    ...describeConfiguration(head.configuration),
    createdAt: head.createdAt as string,
    length: String(head.lastOffset - head.firstOffset + 1),
    firstOffset: empty ? null : String(head.firstOffset),
    lastOffset: empty ? null : String(head.lastOffset),
    firstTime: edges.first_time,
    lastTime: edges.last_time,
    bytes: String(head.bytes),
    pending: edges.pending,
    deadLetters: edges.dead_letters,
  };
}
