-- How streams forget: retention, ephemeral streams, and what waits to leave the disk.

alter table streams
  add column delivery text not null default 'at-least-once'
    check (delivery in ('at-most-once', 'at-least-once', 'exactly-once')),
  -- Retention; null: no bound.
  add column max_age_ms bigint check (max_age_ms > 0),
  add column max_bytes bigint check (max_bytes > 0),
  add column max_events bigint check (max_events > 0),
  -- The built-in queue of an ephemeral stream.
  add column visibility_timeout_ms integer not null default 30000,
  add column max_attempts integer not null default 5,
  add column backoff_initial_ms integer not null default 1000,
  add column backoff_factor double precision not null default 2,
  add column backoff_max_ms integer not null default 60000,
  -- Rises with every change of the configuration and every deletion: what was computed for an older one is void.
  add column revision integer not null default 0;

-- Streams that forget by themselves. No column of the predicate changes with a trim, which so stays HOT.
create index streams_forgetting on streams (id)
  where ephemeral or max_age_ms is not null or max_bytes is not null or max_events is not null;

-- Rows of the offsets [from_offset, to_offset) are invisible and still on the disk. Apart from streams, whose rows are
-- locked by appends.
create table stream_purges (
  stream_id bigint primary key,
  from_offset bigint not null,
  to_offset bigint not null
) with (fillfactor = 70);

insert into stream_purges (stream_id, from_offset, to_offset)
  select id, purged_offset, first_offset from streams where purged_offset < first_offset;

-- Ids are forgotten by stream and offset, a window after their events. The predicate always holds: it keeps this index
-- from being taken for an append's look-up of an id, which does not state it and has the primary key.
create index event_ids_stream_offset on event_ids (stream_id, "offset") where "offset" >= 0;

-- Events below below_offset were trimmed before trimmed_before (-infinity: deleted); their ids are still known.
create table event_id_horizons (
  trimmed_before timestamptz not null,
  stream_id bigint not null,
  below_offset bigint not null,
  primary key (trimmed_before, stream_id)
) with (fillfactor = 70);

insert into event_id_horizons (trimmed_before, stream_id, below_offset)
  select '-infinity', id, born_offset from streams where purged_offset < first_offset;
drop index streams_to_purge;
alter table streams drop column purged_offset;

-- Partitions without a visible event, from the decision until they are gone: whoever finds an interrupted removal ends it.
create table partition_removals (
  partition text collate "C" primary key,
  ephemeral boolean not null
);

-- Duties that one process does for all, and when one last began.
create table duties (
  name text primary key,
  begun_at timestamptz not null
);
