-- Sagas: long-running processes and where they stand.

create table sagas (
  number bigint generated always as identity primary key,
  id uuid not null unique,
  saga text collate "C" not null,
  version int not null,
  correlation_id text collate "C" not null,
  state text collate "C" not null
    check (state in ('NotStarted', 'Running', 'Completed', 'Compensating', 'Compensated', 'Failed')),
  paused boolean not null default false,
  cancel_requested boolean not null default false,
  -- The process that does it now. Who dies is found out by its lease; the epoch rises with each owner.
  owner uuid,
  epoch bigint not null default 0,
  -- Rises with each record, so that none is made twice when its outcome was unknown.
  turn bigint not null default 0,
  -- Owners that died since the last record.
  lost int not null default 0,
  -- When it is somebody's turn; null while somebody has it, while it is paused, and when it has ended.
  due_at timestamptz,
  -- The type of the event that it waits for.
  waiting_type text collate "C",
  -- The names of its steps, by the definition of its version.
  steps text[] not null,
  progress json not null,
  data json not null,
  -- Of the request that started it, where that had an Idempotency-Key.
  request_hash uuid,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz
)
-- From step to step no index has to change, so that rows stay within their pages; and those that rest or end are cleared away
-- by their number, not by their share of all that have ended.
with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
create index sagas_state on sagas (state, number);
create index sagas_saga on sagas (saga, state, number);
create index sagas_correlation on sagas (correlation_id, number);
create index sagas_due on sagas (saga, due_at) where due_at is not null and owner is null;
create index sagas_owner on sagas (owner) where owner is not null;
create index sagas_waiting on sagas (waiting_type, correlation_id) where waiting_type is not null;
create index sagas_ended on sagas (ended_at) where ended_at is not null;

-- Up to where the log was looked through for events that sagas wait for.
create table saga_watch (
  one boolean primary key default true check (one),
  position bigint not null
) with (fillfactor = 50);
insert into saga_watch (position) select coalesce(max(position), -1) from events;
