-- Remote streams: mirrors, in the local log, of streams that other services publish in NATS JetStream.

create table remote_streams (
  id bigint generated always as identity primary key,
  -- Of the local stream that has the mirrored events.
  name text collate "C" not null unique,
  -- What is mirrored, as it was put.
  source json not null,
  max_deliveries int not null check (max_deliveries >= 1),
  backoff_initial_ms int not null,
  backoff_factor double precision not null,
  backoff_max_ms int not null,
  created_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
  -- The cursor: up to which message of which stream of JetStream everything is in the log or set aside, and when JetStream had
  -- stored that message, in milliseconds. The revision rises with each move: who moves it says from which one, so that a process
  -- that was passed over moves nothing.
  revision bigint not null default 0,
  jetstream text,
  jetstream_created text,
  sequence bigint not null default 0,
  stored_ms bigint
) with (fillfactor = 50);

-- How far the logs of other services have been mirrored, whatever became of JetStream or of the events meanwhile.
create table remote_origins (
  remote_id bigint not null references remote_streams on delete cascade,
  log_id text collate "C" not null,
  stream text collate "C" not null,
  "offset" bigint not null,
  primary key (remote_id, log_id, stream)
) with (fillfactor = 50);

-- Messages that could not become events: to be tried again when they are due, or given up.
create table remote_dead_letters (
  id bigint generated always as identity primary key,
  remote_id bigint not null references remote_streams on delete cascade,
  jetstream text not null,
  sequence bigint not null,
  stored_ms bigint not null,
  subject text not null,
  headers json not null,
  payload bytea not null,
  reason text collate "C" not null,
  detail text not null,
  attempts int not null,
  first_failed_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
  last_failed_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
  -- Null when it was given up.
  due_at timestamptz
);
create index remote_dead_letters_dead on remote_dead_letters (remote_id, id) where due_at is null;
create index remote_dead_letters_due on remote_dead_letters (remote_id, due_at) where due_at is not null;

-- How each mirror stands, as the process says that has it in hand.
create table remote_standings (
  remote_id bigint primary key references remote_streams on delete cascade,
  state text collate "C" not null,
  pending bigint,
  behind_since_ms bigint,
  received bigint not null,
  redelivered bigint not null,
  last_error text,
  last_error_at timestamptz,
  updated_at timestamptz not null
) with (fillfactor = 50);
