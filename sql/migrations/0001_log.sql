-- The log: streams, events in two families partitioned by position, known event ids, answers to idempotent requests.

create table log (
  singleton boolean primary key default true check (singleton),
  -- Another history (a restore, a failover that lost commits) gets another id, so that cursors of the old one are noticed.
  log_id uuid not null default gen_random_uuid(),
  -- streams.checkpoint_offset is exact for all events below this position; probes for a stream's end start here.
  checkpoint_position bigint not null default 0,
  created_at timestamptz not null default clock_timestamp()
);

insert into log default values;

create table streams (
  id bigint generated always as identity primary key,
  name text collate "C" not null unique,
  -- Null until the first event or an explicit creation: a refused append on a new name leaves no visible stream.
  created_at timestamptz,
  -- Events below this offset are trimmed or deleted; rows go later.
  first_offset bigint not null default 0,
  -- Bytes of the events below first_offset.
  first_bytes bigint not null default 0,
  -- First offset of the stream's present life: ids and events below it belong to a deleted one.
  born_offset bigint not null default 0,
  -- Rows below this offset are gone from the disk.
  purged_offset bigint not null default 0,
  -- The last event below log.checkpoint_position, or the last one of a deleted life: offsets are never reused.
  checkpoint_offset bigint not null default -1,
  checkpoint_bytes bigint not null default 0,
  checkpoint_position bigint not null default -1,
  ephemeral boolean not null default false,
  replay boolean not null default true,
  -- The stream in which the service keeps its own control records; its name is outside the public grammar.
  internal boolean not null default false
) with (fillfactor = 70);

create index streams_to_purge on streams (id) where purged_offset < first_offset;

-- The service's control records (deletions, trims) are events of this stream, so every tail meets them in order.
insert into streams (name, created_at, internal) values ('$control', clock_timestamp(), true);

create table events (
  position bigint not null,
  stream_id bigint not null,
  "offset" bigint not null,
  -- Bytes of the stream up to and including this event: length and size of a stream cost the same at any size.
  stream_bytes bigint not null,
  -- Never runs backwards along positions; milliseconds, as the envelope shows them.
  recorded_at timestamptz not null,
  schema_version integer not null,
  -- Size of the event: pages are bounded by it without touching the payloads.
  bytes integer not null,
  ephemeral boolean not null,
  id text collate "C" not null,
  type text collate "C" not null,
  correlation_id text collate "C",
  partition_key text collate "C",
  -- The producer's other attributes (source, time, subject, extensions), as a JSON object.
  attributes json not null,
  data json,
  data_binary bytea
) partition by list (ephemeral);

create table events_persistent partition of events for values in (false) partition by range (position);
create table events_ephemeral partition of events for values in (true) partition by range (position);

-- Ids that a producer gave, which outlive the events by the de-duplication window. Ids made here (UUIDv7) need no entry.
create table event_ids (
  id text collate "C" not null,
  stream_id bigint not null,
  source text collate "C" not null,
  "offset" bigint not null,
  position bigint not null,
  content_hash uuid not null,
  recorded_at timestamptz not null,
  primary key (id, stream_id, source)
) partition by hash (id);

create table event_ids_0 partition of event_ids for values with (modulus 8, remainder 0);
create table event_ids_1 partition of event_ids for values with (modulus 8, remainder 1);
create table event_ids_2 partition of event_ids for values with (modulus 8, remainder 2);
create table event_ids_3 partition of event_ids for values with (modulus 8, remainder 3);
create table event_ids_4 partition of event_ids for values with (modulus 8, remainder 4);
create table event_ids_5 partition of event_ids for values with (modulus 8, remainder 5);
create table event_ids_6 partition of event_ids for values with (modulus 8, remainder 6);
create table event_ids_7 partition of event_ids for values with (modulus 8, remainder 7);

-- What a request with an Idempotency-Key stored, so that its retry gets the same answer.
create table idempotency_keys (
  key text collate "C" not null,
  request_hash uuid not null,
  offsets bigint[] not null,
  duplicates boolean[] not null,
  last_position bigint not null,
  recorded_at timestamptz not null,
  primary key (key)
);
create index idempotency_keys_recorded_at on idempotency_keys (recorded_at);
