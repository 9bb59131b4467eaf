// What flows on live connections, as it is stored: whichever process a request or a reconnect reaches.
import { forbidden, liveConnectionNotFound } from "../../base/errors.ts";
import { arrayLiteral, nameList } from "../../storage/lists.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import { type Target, targetColumn, targetFromColumn } from "../../stream/schema/target.ts";

export type LiveStream = {
  stream: string;
  types: readonly string[] | null;
  key: string | null;
  where: string | null;
  /** As which versions the events are wanted. */
  target: Target;
  /** The last position before the place at which it was to begin. */
  startPosition: number;
  /** Where a reconnect begins, from the first moment on. Null once it is certain that it goes by the connection's position. */
  catchUpPosition: number | null;
  /** Another one with every change. */
  revision: number;
};

export type LiveSubscription = { subscription: string; consumer: string; autoAcknowledge: boolean };

export type LiveMembership = {
  epoch: number;
  /** Everything up to here has been written, as far as was noted. */
  position: number;
  streams: LiveStream[];
  subscriptions: LiveSubscription[];
};

/** How far a connection is. */
export type LiveNote = {
  id: string;
  epoch: number;
  position: number;
  /** Streams that catch up, or have done so (null). */
  catchUps: readonly { stream: string; revision: number; position: number | null }[];
};

export type LiveMemberships = {
  /** A connect: creates the connection if there is none, and replaces an older one of the id. Throws `forbidden`. */
  connect: (id: string, owner: string, head: number) => Promise<LiveMembership>;
  /** Null when there is no such connection (any more). */
  read: (id: string) => Promise<LiveMembership | null>;
  /** Throws `forbidden`, `live-connection-not-found`. */
  require: (id: string, owner: string) => Promise<LiveMembership>;
  /** Adds a stream or changes it; creates the connection if need be. Returns whether it is new. Throws `forbidden`. */
  addStream: (
    id: string,
    owner: string,
    head: number,
    stream: Omit<LiveStream, "revision" | "catchUpPosition">,
  ) => Promise<boolean>;
  /** Returns whether it was there. */
  removeStream: (id: string, stream: string) => Promise<boolean>;
  addSubscription: (id: string, owner: string, head: number, subscription: LiveSubscription) => Promise<boolean>;
  removeSubscription: (id: string, subscription: string) => Promise<boolean>;
  remove: (id: string) => Promise<void>;
  /** Notes that connections are there, and how far they are. */
  note: (connections: readonly LiveNote[]) => Promise<void>;
  /** Removes what has not been seen for so long. */
  forget: (afterMs: number) => Promise<number>;
};

const forgottenAtOnce = 1_000;

export function createLiveMemberships(reads: Pool, writes: Pool): LiveMemberships {
  /** The connection's row, locked against changes at the same time. */
  async function open(sql: Sql, id: string, owner: string, head: number): Promise<void> {
    const rows = await sql<{ owner: string }[]>`
      insert into live_connections as c (id, owner, position) values (${id}, ${owner}, ${head})
      on conflict (id) do update set seen_at = clock_timestamp() returning c.owner`;
    if (rows[0]?.owner !== owner) throw forbidden("The live connection belongs to somebody else");
  }

  async function read(id: string, owner: string | null): Promise<LiveMembership | null> {
    return reads.run(async (sql) => {
      const [connection] = await sql<{ owner: string; epoch: string; position: string }[]>`
        select owner, epoch, position from live_connections where id = ${id}`;
      if (connection === undefined) return null;
      if (owner !== null && connection.owner !== owner) throw forbidden("The live connection belongs to somebody else");
      const streams = await sql<
        {
          stream: string;
          types: string | null;
          key: string | null;
          path: string | null;
          receive_as: string | null;
          start_position: string;
          catch_up_position: string | null;
          revision: string;
        }[]
      >`
        select stream, to_json(types) as types, key, path, receive_as, start_position, catch_up_position, revision
        from live_streams where connection_id = ${id} order by stream`;
      const subscriptions = await sql<{ subscription: string; consumer: string; auto_acknowledge: boolean }[]>`
        select subscription, consumer, auto_acknowledge from live_subscriptions where connection_id = ${id} order by subscription`;
      return {
        epoch: Number(connection.epoch),
        position: Number(connection.position),
        streams: streams.map((row) => ({
          stream: row.stream,
          types: row.types === null ? null : (JSON.parse(row.types) as string[]),
          key: row.key,
          where: row.path,
          target: targetFromColumn(row.receive_as === null ? null : JSON.parse(row.receive_as)),
          startPosition: Number(row.start_position),
          catchUpPosition: row.catch_up_position === null ? null : Number(row.catch_up_position),
          revision: Number(row.revision),
        })),
        subscriptions: subscriptions.map((row) => ({
          subscription: row.subscription,
          consumer: row.consumer,
          autoAcknowledge: row.auto_acknowledge,
        })),
      };
    });
  }

  return {
    async connect(id, owner, head) {
      const [connected] = await writes.run(async (sql) => {
        await open(sql, id, owner, head);
        return sql<{ epoch: string }[]>`
          update live_connections set epoch = epoch + 1 where id = ${id} returning epoch`;
      });
      const membership = await read(id, owner);
      if (connected === undefined || membership === null) throw liveConnectionNotFound(id);
      // What is read may be of a later connect already.
      return { ...membership, epoch: Number(connected.epoch) };
    },
    read: (id) => read(id, null),
    async require(id, owner) {
      const membership = await read(id, owner);
      if (membership === null) throw liveConnectionNotFound(id);
      return membership;
    },
    addStream: (id, owner, head, stream) =>
      writes.run(async (sql) => {
        await open(sql, id, owner, head);
        const types = stream.types === null ? null : JSON.stringify(stream.types);
        const column = targetColumn(stream.target);
        const receiveAs = column === null ? null : JSON.stringify(column);
        const rows = await sql<{ is_new: boolean }[]>`
          insert into live_streams as s (connection_id, stream, types, key, path, receive_as, start_position, catch_up_position)
          values (${id}, ${stream.stream},
            (select array_agg(t.value) from json_array_elements_text(${types}::text::json) t),
            ${stream.key}, ${stream.where}, ${receiveAs}::text::json, ${stream.startPosition}, ${stream.startPosition})
          on conflict (connection_id, stream) do update
            set types = excluded.types, key = excluded.key, path = excluded.path, receive_as = excluded.receive_as,
                start_position = excluded.start_position,
                catch_up_position = excluded.catch_up_position, revision = s.revision + 1
          returning s.revision = 1 as is_new`;
        return rows[0]?.is_new === true;
      }),
    removeStream: (id, stream) =>
      writes.run(async (sql) => {
        const rows =
          await sql`delete from live_streams where connection_id = ${id} and stream = ${stream} returning stream`;
        return rows.length > 0;
      }),
    addSubscription: (id, owner, head, { subscription, consumer, autoAcknowledge }) =>
      writes.run(async (sql) => {
        await open(sql, id, owner, head);
        const rows = await sql<{ is_new: boolean }[]>`
          insert into live_subscriptions (connection_id, subscription, consumer, auto_acknowledge)
          values (${id}, ${subscription}, ${consumer}, ${autoAcknowledge})
          on conflict (connection_id, subscription) do update
            set consumer = excluded.consumer, auto_acknowledge = excluded.auto_acknowledge
          returning xmax = 0 as is_new`;
        return rows[0]?.is_new === true;
      }),
    removeSubscription: (id, subscription) =>
      writes.run(async (sql) => {
        const rows = await sql`
          delete from live_subscriptions where connection_id = ${id} and subscription = ${subscription} returning subscription`;
        return rows.length > 0;
      }),
    async remove(id) {
      await writes.run((sql) => sql`delete from live_connections where id = ${id}`);
    },
    async note(connections) {
      if (connections.length === 0) return;
      const ids = nameList(connections.map(({ id }) => id));
      const epochs = arrayLiteral(connections.map(({ epoch }) => epoch));
      const positions = arrayLiteral(connections.map(({ position }) => position));
      const catchUps = connections.flatMap(({ id, epoch, catchUps }) => catchUps.map((c) => ({ id, epoch, ...c })));
      await writes.run(async (sql) => {
        await sql`
          update live_connections c set seen_at = clock_timestamp(), position = u.position
          from unnest(${ids}::uuid[], ${epochs}::bigint[], ${positions}::bigint[]) u(id, epoch, position)
          where c.id = u.id and c.epoch = u.epoch`;
        if (catchUps.length === 0) return;
        await sql`
          update live_streams s set catch_up_position = u.position
          from unnest(${nameList(catchUps.map((c) => c.id))}::uuid[], ${arrayLiteral(catchUps.map((c) => c.epoch))}::bigint[],
                      ${nameList(catchUps.map((c) => c.stream))}::text[], ${arrayLiteral(catchUps.map((c) => c.revision))}::bigint[],
                      ${arrayLiteral(catchUps.map((c) => c.position))}::bigint[]) u(id, epoch, stream, revision, position)
            join live_connections c on c.id = u.id and c.epoch = u.epoch
          where s.connection_id = u.id and s.stream = u.stream and s.revision = u.revision`;
      });
    },
    forget: (afterMs) =>
      writes.run(async (sql) => {
        const rows = await sql`
          delete from live_connections where id = any(array(
            select id from live_connections
            where seen_at < clock_timestamp() - ${afterMs} * interval '1 millisecond'
            order by seen_at limit ${forgottenAtOnce})) returning id`;
        return rows.length;
      }),
  };
}
