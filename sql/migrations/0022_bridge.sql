-- What is published over NATS, and how far that has come.

-- The streams whose scope is cross-service, and what they have in NATS; what is null is the service's default.
create table cross_service_streams (
  stream_id bigint primary key references streams (id) on delete cascade,
  -- The JetStream stream. No two streams share one.
  nats_stream text collate "C" not null unique,
  -- The subject of its events, the token {type} last or not at all.
  nats_subject text collate "C" not null,
  mode text check (mode in ('binary', 'structured')),
  replicas smallint check (replicas between 1 and 5),
  storage text check (storage in ('file', 'memory')),
  max_age_ms bigint check (max_age_ms > 0),
  max_bytes bigint check (max_bytes > 0),
  max_events bigint check (max_events > 0)
);

-- Up to where each stream is known to be published. Behind it there may be more, in the order of the log: whoever goes on
-- asks JetStream first.
create table bridge_cursors (
  stream_id bigint primary key references streams (id) on delete cascade,
  nats_stream text collate "C" not null,
  -- When the JetStream stream was made, as the server says it: another time is another stream.
  nats_created text not null,
  nats_sequence bigint not null,
  "offset" bigint not null,
  position bigint not null,
  log_id uuid not null,
  updated_at timestamptz not null
) with (fillfactor = 50);

-- What whoever publishes says of each stream.
create table bridge_states (
  stream_id bigint primary key references streams (id) on delete cascade,
  state text not null,
  error text,
  since timestamptz not null
) with (fillfactor = 50);

-- Events that the server does not take, whatever is tried.
create table bridge_withheld (
  stream_id bigint not null references streams (id) on delete cascade,
  "offset" bigint not null,
  event_id text not null,
  type text not null,
  reason text not null,
  withheld_at timestamptz not null,
  primary key (stream_id, "offset")
);
