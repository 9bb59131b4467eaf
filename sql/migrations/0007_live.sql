-- Live connections: what flows on each, so that a reconnect resumes all of it, on whichever process.

create table live_connections (
  id uuid primary key,
  -- The credential that it belongs to.
  owner text collate "C" not null,
  -- Rises with every connect: an older connection of the same id has been replaced.
  epoch bigint not null default 0,
  -- Everything up to here has been written, of all streams that have caught up; for a reconnect that brings no id.
  position bigint not null,
  seen_at timestamptz not null default clock_timestamp(),
  created_at timestamptz not null default date_trunc('milliseconds', clock_timestamp())
) with (fillfactor = 70);
create index live_connections_seen_at on live_connections (seen_at);

create table live_streams (
  connection_id uuid not null references live_connections on delete cascade,
  stream text collate "C" not null,
  types text[],
  key text collate "C",
  path text,
  -- The last position before the place at which it was to begin.
  start_position bigint not null,
  -- While it catches up, a reconnect begins here: where it stood so long ago that the reader must have it.
  catch_up_position bigint,
  -- Another one with every change: what flows is begun anew.
  revision bigint not null default 1,
  primary key (connection_id, stream)
);

create table live_subscriptions (
  connection_id uuid not null references live_connections on delete cascade,
  subscription text collate "C" not null,
  consumer text collate "C" not null,
  auto_acknowledge boolean not null,
  primary key (connection_id, subscription)
);
