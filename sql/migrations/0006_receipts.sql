-- What was delivered and is not read, what was processed, and named locks.

-- Read-receipt: events that were delivered to a consumer, who has not read them: a row for each batch, as in deliveries. An
-- event of a cursor stands here or in deliveries, never in both.
create table receipts (
  id bigint generated always as identity primary key,
  cursor_id bigint not null references subscription_cursors on delete cascade,
  -- Ascending.
  positions bigint[] not null,
  delivered_at timestamptz not null,
  -- When the time for reading is over; null: never.
  due timestamptz
);
-- Partial by what is always true, for the queries that name it: see deliveries.
create index receipts_first on receipts (cursor_id, (positions[1])) where positions[1] > -1;
create index receipts_due on receipts (due) where due > '-infinity';

-- Events beyond a cursor that were read before they were handed out: they never will be.
create table early_reads (
  cursor_id bigint not null references subscription_cursors on delete cascade,
  position bigint not null,
  primary key (cursor_id, position)
);

-- Events whose effect a consumer has had, by its word: they are not handed out again.
create table processed_events (
  cursor_id bigint not null references subscription_cursors on delete cascade,
  position bigint not null,
  event_id text collate "C" not null,
  consumer text collate "C" not null,
  -- The lease under which it was marked.
  step bigint not null,
  part smallint not null,
  processed_at timestamptz not null,
  primary key (cursor_id, position)
);
create index processed_events_id on processed_events (cursor_id, event_id) where event_id > '';
create index processed_events_at on processed_events (processed_at) where processed_at > '-infinity';

-- Fencing tokens are of one sequence for all locks: they rise for ever, also over a lock that was removed and came again.
create sequence lock_tokens;
create table locks (
  -- Whose it is: each principal has names of its own.
  principal text collate "C" not null,
  key text collate "C" not null,
  token bigint not null,
  owner text collate "C",
  acquired_at timestamptz not null,
  expires_at timestamptz not null,
  -- Given back by its holder, and not run out.
  released boolean not null default false,
  primary key (principal, key)
) with (fillfactor = 70);
create index locks_expired on locks (expires_at) where expires_at > '-infinity';
