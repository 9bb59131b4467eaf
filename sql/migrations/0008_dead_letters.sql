-- Dead letters that outlive their cursors, what is replayed of them, and what is deleted in the background.

-- A letter stays until somebody discards it, also when the cursor under which the event died is gone.
alter table dead_letters
  alter column cursor_id drop not null,
  drop constraint dead_letters_cursor_id_fkey,
  add constraint dead_letters_cursor_id_fkey foreign key (cursor_id) references subscription_cursors on delete set null;

-- The content of dead letters that were put back: their streams may have forgotten them. A row goes when its event is
-- settled, or a dead letter again.
create table replayed_letters (
  position bigint not null,
  cursor_id bigint not null references subscription_cursors on delete cascade,
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
  -- When it was first seen that nothing of it is out or waits.
  settled_at timestamptz,
  primary key (position, cursor_id)
);
create index replayed_letters_cursor on replayed_letters (cursor_id, position);

-- A subscription that is as good as gone: it hands nothing out, is found by no name, and its rows go in the background.
alter table subscriptions add column deleted_at timestamptz;
create index subscriptions_deleted on subscriptions (id) where deleted_at is not null;
create index subscriptions_expiring on subscriptions (id) where expires_after_ms is not null;

-- Streams that were deleted at a position of the log, until what the ledgers hold of them is gone.
create table stream_deletions (
  position bigint primary key,
  stream text collate "C" not null
);
