-- The ledger: subscriptions, their cursors over the log, and what has been handed out or waits for another try.

create table subscriptions (
  id bigint generated always as identity primary key,
  name text collate "C" not null unique,
  -- Broadcast and read-receipt have a cursor for each consumer, exclusive and consumer-group one for all.
  mode text not null check (mode in ('broadcast', 'exclusive', 'consumer-group', 'read-receipt')),
  delivery text not null check (delivery in ('at-most-once', 'at-least-once', 'exactly-once')),
  -- The ephemeral stream whose built-in queue it is.
  queue_of text collate "C" unique,
  -- Events of this correlation in all persistent streams; null where streams are named.
  correlation text collate "C",
  types text[],
  path text,
  -- The place that was given, and the last position before it.
  start_place text not null,
  start_position bigint not null,
  visibility_timeout_ms bigint not null,
  max_in_flight int not null,
  max_attempts int not null,
  backoff_initial_ms bigint not null,
  backoff_factor double precision not null,
  backoff_max_ms bigint not null,
  max_consumers int,
  consumer_timeout_ms bigint not null,
  slots int not null,
  on_failure text not null check (on_failure in ('pause', 'skip')),
  unread_timeout_ms bigint,
  on_unread_expired text not null check (on_unread_expired in ('requeue', 'dead-letter', 'drop')),
  terminal text[],
  push text not null check (push in ('immediate', 'on-reconnect', 'batched')),
  batch_interval_ms bigint not null,
  expires_after_ms bigint,
  metadata json not null,
  paused boolean not null default false,
  -- Another one after each change of the above: whoever claims by an old one is told to look again.
  revision bigint not null default 1,
  completed_at timestamptz,
  created_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
  -- Of the last claim or settlement, about: what expires after disuse goes by it.
  used_at timestamptz not null default clock_timestamp()
);

-- The streams of subscriptions that name them; they need not exist yet.
create table subscription_streams (
  stream text collate "C" not null,
  subscription_id bigint not null references subscriptions on delete cascade,
  primary key (stream, subscription_id)
);
create index subscription_streams_subscription on subscription_streams (subscription_id);

-- Where a subscription stands, or each of its consumers. The row is only ever locked: its moves are rows of their own,
-- because a row that is updated at every claim grows a tail of dead versions behind any older transaction.
create table subscription_cursors (
  id bigint generated always as identity primary key,
  subscription_id bigint not null references subscriptions on delete cascade,
  -- Empty where the cursor is of all consumers.
  consumer text collate "C" not null,
  start_position bigint not null,
  unique (subscription_id, consumer)
);

-- Everything up to the position of the last step has been handed out, or does not match. Steps ascend with the clock, so
-- that none comes twice, even when a crash of the database has forgotten the last ones.
create table cursor_steps (
  cursor_id bigint not null references subscription_cursors on delete cascade,
  step bigint not null,
  position bigint not null,
  primary key (cursor_id, step)
);

-- Events that were handed out and are not settled (leased), wait for a try (ready), or for their key (parked): a row for
-- each batch, not for each event.
create table deliveries (
  cursor_id bigint not null references subscription_cursors on delete cascade,
  step bigint not null,
  -- The leases of one step, and the pieces into which a lease falls when a part of it is extended.
  part smallint not null,
  piece smallint not null default 0,
  state text not null check (state in ('ready', 'leased', 'parked')),
  consumer text collate "C",
  -- Leased: the deadline. Ready: the time from which it may be handed out. Parked: infinity.
  due timestamptz not null,
  -- Ascending.
  positions bigint[] not null,
  -- Consumer group: the hash of each event's key; ready: the member whose all of them will be.
  keys bigint[],
  owner text collate "C",
  -- Some of it has failed before: delivery_failures knows.
  retried boolean not null default false,
  primary key (step, cursor_id, part, piece)
) with (fillfactor = 70);
-- Each of these is partial by a condition that is always true and that only the queries name which are meant to use it:
-- on a table that is mostly empty the planner cannot tell a good index from a bad one.
create index deliveries_due on deliveries (cursor_id, due) where due > '-infinity';
create index deliveries_consumer on deliveries (cursor_id, consumer, step) where consumer > '';
create index deliveries_first on deliveries (cursor_id, (positions[1])) where positions[1] > -1;

-- What became of handed-out events that were taken back: a token that names one of them is stale, not settled.
create table revoked_deliveries (
  cursor_id bigint not null references subscription_cursors on delete cascade,
  step bigint not null,
  part smallint not null,
  positions bigint[] not null,
  revoked_at timestamptz not null,
  primary key (cursor_id, step, part)
);
create index revoked_deliveries_at on revoked_deliveries (revoked_at);

-- Events that have been handed out in vain.
create table delivery_failures (
  cursor_id bigint not null references subscription_cursors on delete cascade,
  position bigint not null,
  attempts int not null,
  first_error text not null,
  first_at timestamptz not null,
  last_error text not null,
  last_at timestamptz not null,
  primary key (cursor_id, position)
);

-- Given up, with their content, which outlives the stream's.
create table dead_letters (
  id bigint generated always as identity primary key,
  subscription_id bigint not null references subscriptions on delete cascade,
  cursor_id bigint not null references subscription_cursors on delete cascade,
  consumer text collate "C",
  position bigint not null,
  stream text collate "C" not null,
  "offset" bigint not null,
  event_id text collate "C" not null,
  type text collate "C" not null,
  recorded_at timestamptz not null,
  schema_version integer not null,
  correlation_id text collate "C",
  partition_key text collate "C",
  attributes json not null,
  data json,
  data_binary bytea,
  reason text not null,
  attempts int not null,
  first_error text not null,
  first_at timestamptz not null,
  last_error text not null,
  last_at timestamptz not null,
  dead_at timestamptz not null,
  unique (cursor_id, position)
);
create index dead_letters_subscription on dead_letters (subscription_id, id);
create index dead_letters_stream on dead_letters (stream);

-- Members: a silent one loses its membership, not its cursor.
create table consumers (
  subscription_id bigint not null references subscriptions on delete cascade,
  name text collate "C" not null,
  metadata json not null,
  registered_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
  seen_at timestamptz not null,
  primary key (subscription_id, name)
) with (fillfactor = 70);

-- The key that signs delivery tokens: every process can tell a token of ours from an invented one.
alter table log add column token_key text not null default gen_random_uuid()::text || gen_random_uuid()::text;
