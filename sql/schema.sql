-- Generated from a migrated database; do not edit.

create sequence lock_tokens as bigint increment 1 minvalue 1 maxvalue 9223372036854775807 start 1 cache 1;

create table bridge_cursors (
  stream_id     bigint not null,
  nats_stream   text collate "C" not null,
  nats_created  text not null,
  nats_sequence bigint not null,
  "offset"      bigint not null,
  "position"    bigint not null,
  log_id        uuid not null,
  updated_at    timestamp with time zone not null,
  constraint bridge_cursors_pkey PRIMARY KEY (stream_id),
  constraint bridge_cursors_stream_id_fkey FOREIGN KEY (stream_id) REFERENCES streams(id) ON DELETE CASCADE
) with (fillfactor=50);

create table bridge_states (
  stream_id bigint not null,
  state     text not null,
  error     text,
  since     timestamp with time zone not null,
  constraint bridge_states_pkey PRIMARY KEY (stream_id),
  constraint bridge_states_stream_id_fkey FOREIGN KEY (stream_id) REFERENCES streams(id) ON DELETE CASCADE
) with (fillfactor=50);

create table bridge_withheld (
  stream_id    bigint not null,
  "offset"     bigint not null,
  event_id     text not null,
  type         text not null,
  reason       text not null,
  withheld_at  timestamp with time zone not null,
  nats_stream  text not null,
  nats_created text not null,
  constraint bridge_withheld_pkey PRIMARY KEY (stream_id, nats_stream, "offset"),
  constraint bridge_withheld_stream_id_fkey FOREIGN KEY (stream_id) REFERENCES streams(id) ON DELETE CASCADE
);

create table command_answers (
  key          text not null,
  request_hash uuid not null,
  answer       json not null,
  offsets      bigint[] not null,
  recorded_at  timestamp with time zone not null,
  constraint command_answers_pkey PRIMARY KEY (key)
);
CREATE INDEX command_answers_recorded_at ON command_answers USING btree (recorded_at);

create table consumers (
  subscription_id bigint not null,
  name            text collate "C" not null,
  metadata        json not null,
  registered_at   timestamp with time zone not null default date_trunc('milliseconds'::text, clock_timestamp()),
  seen_at         timestamp with time zone not null,
  session         bigint not null default 0,
  set_aside       bigint,
  constraint consumers_pkey PRIMARY KEY (subscription_id, name),
  constraint consumers_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES subscriptions(id) ON DELETE CASCADE
) with (fillfactor=70);

create table cross_service_streams (
  stream_id    bigint not null,
  nats_stream  text collate "C" not null,
  nats_subject text collate "C" not null,
  mode         text,
  replicas     smallint,
  storage      text,
  max_age_ms   bigint,
  max_bytes    bigint,
  max_events   bigint,
  constraint cross_service_streams_pkey PRIMARY KEY (stream_id),
  constraint cross_service_streams_nats_stream_key UNIQUE (nats_stream),
  constraint cross_service_streams_max_age_ms_check CHECK (max_age_ms > 0),
  constraint cross_service_streams_max_bytes_check CHECK (max_bytes > 0),
  constraint cross_service_streams_max_events_check CHECK (max_events > 0),
  constraint cross_service_streams_mode_check CHECK (mode = ANY (ARRAY['binary'::text, 'structured'::text])),
  constraint cross_service_streams_replicas_check CHECK (replicas >= 1 AND replicas <= 5),
  constraint cross_service_streams_storage_check CHECK (storage = ANY (ARRAY['file'::text, 'memory'::text])),
  constraint cross_service_streams_stream_id_fkey FOREIGN KEY (stream_id) REFERENCES streams(id) ON DELETE CASCADE
);

create table cursor_ends (
  cursor_id    bigint not null,
  "position"   bigint not null,
  completed_at timestamp with time zone,
  constraint cursor_ends_pkey PRIMARY KEY (cursor_id, "position"),
  constraint cursor_ends_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES subscription_cursors(id) ON DELETE CASCADE
);
CREATE INDEX cursor_ends_open ON cursor_ends USING btree (cursor_id) WHERE completed_at IS NULL;

create table cursor_steps (
  cursor_id  bigint not null,
  step       bigint not null,
  "position" bigint not null,
  constraint cursor_steps_pkey PRIMARY KEY (cursor_id, step)
);

create table dead_letters (
  id              bigint not null generated always as identity,
  subscription_id bigint not null,
  cursor_id       bigint,
  consumer        text collate "C",
  "position"      bigint not null,
  stream          text collate "C" not null,
  "offset"        bigint not null,
  event_id        text collate "C" not null,
  type            text collate "C" not null,
  recorded_at     timestamp with time zone not null,
  schema_version  integer not null,
  correlation_id  text collate "C",
  partition_key   text collate "C",
  attributes      json not null,
  data            json,
  data_binary     bytea,
  reason          text not null,
  attempts        integer not null,
  first_error     text not null,
  first_at        timestamp with time zone not null,
  last_error      text not null,
  last_at         timestamp with time zone not null,
  dead_at         timestamp with time zone not null,
  constraint dead_letters_pkey PRIMARY KEY (id),
  constraint dead_letters_cursor_id_position_key UNIQUE (cursor_id, "position"),
  constraint dead_letters_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES subscription_cursors(id) ON DELETE SET NULL,
  constraint dead_letters_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES subscriptions(id) ON DELETE CASCADE
);
CREATE INDEX dead_letters_stream ON dead_letters USING btree (stream);
CREATE INDEX dead_letters_subscription ON dead_letters USING btree (subscription_id, id);

create table deliveries (
  cursor_id bigint not null,
  step      bigint not null,
  part      smallint not null,
  piece     smallint not null default 0,
  state     text not null,
  consumer  text collate "C",
  due       timestamp with time zone not null,
  positions bigint[] not null,
  keys      bigint[],
  owner     text collate "C",
  retried   boolean not null default false,
  constraint deliveries_pkey PRIMARY KEY (step, cursor_id, part, piece),
  constraint deliveries_state_check CHECK (state = ANY (ARRAY['ready'::text, 'leased'::text, 'parked'::text]))
) with (fillfactor=70);
CREATE INDEX deliveries_consumer ON deliveries USING btree (cursor_id, consumer, step) WHERE consumer > ''::text;
CREATE INDEX deliveries_due ON deliveries USING btree (cursor_id, due) WHERE due > '-infinity'::timestamp with time zone;
CREATE INDEX deliveries_first ON deliveries USING btree (cursor_id, (positions[1])) WHERE positions[1] > '-1'::integer;
CREATE INDEX deliveries_owner ON deliveries USING btree (cursor_id, owner, (positions[1]), due) WHERE owner >= ''::text;

create table delivery_failures (
  cursor_id   bigint not null,
  "position"  bigint not null,
  attempts    integer not null,
  first_error text not null,
  first_at    timestamp with time zone not null,
  last_error  text not null,
  last_at     timestamp with time zone not null,
  constraint delivery_failures_pkey PRIMARY KEY (cursor_id, "position"),
  constraint delivery_failures_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES subscription_cursors(id) ON DELETE CASCADE
);

create table duties (
  name     text not null,
  begun_at timestamp with time zone not null,
  constraint duties_pkey PRIMARY KEY (name)
);

create table early_reads (
  cursor_id  bigint not null,
  "position" bigint not null,
  constraint early_reads_pkey PRIMARY KEY (cursor_id, "position"),
  constraint early_reads_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES subscription_cursors(id) ON DELETE CASCADE
);

create table event_id_horizons (
  trimmed_before timestamp with time zone not null,
  stream_id      bigint not null,
  below_offset   bigint not null,
  constraint event_id_horizons_pkey PRIMARY KEY (trimmed_before, stream_id)
) with (fillfactor=70);

create table event_ids (
  id           text collate "C" not null,
  stream_id    bigint not null,
  source       text collate "C" not null,
  "offset"     bigint not null,
  "position"   bigint not null,
  content_hash uuid not null,
  recorded_at  timestamp with time zone not null,
  constraint event_ids_pkey PRIMARY KEY (id, stream_id, source)
) partition by HASH (id);
CREATE INDEX event_ids_stream_offset ON ONLY event_ids USING btree (stream_id, "offset") WHERE "offset" >= 0;

create table event_ids_0 partition of event_ids FOR VALUES WITH (modulus 8, remainder 0);

create table event_ids_1 partition of event_ids FOR VALUES WITH (modulus 8, remainder 1);

create table event_ids_2 partition of event_ids FOR VALUES WITH (modulus 8, remainder 2);

create table event_ids_3 partition of event_ids FOR VALUES WITH (modulus 8, remainder 3);

create table event_ids_4 partition of event_ids FOR VALUES WITH (modulus 8, remainder 4);

create table event_ids_5 partition of event_ids FOR VALUES WITH (modulus 8, remainder 5);

create table event_ids_6 partition of event_ids FOR VALUES WITH (modulus 8, remainder 6);

create table event_ids_7 partition of event_ids FOR VALUES WITH (modulus 8, remainder 7);

create table events (
  "position"     bigint not null,
  stream_id      bigint not null,
  "offset"       bigint not null,
  stream_bytes   bigint not null,
  recorded_at    timestamp with time zone not null,
  schema_version integer not null,
  bytes          integer not null,
  ephemeral      boolean not null,
  id             text collate "C" not null,
  type           text collate "C" not null,
  correlation_id text collate "C",
  partition_key  text collate "C",
  attributes     json not null,
  data           json,
  data_binary    bytea
) partition by LIST (ephemeral);

create table events_ephemeral partition of events FOR VALUES IN (true) partition by RANGE ("position");

create table events_persistent partition of events FOR VALUES IN (false) partition by RANGE ("position");

create table group_slots (
  cursor_id      bigint not null,
  slot           integer not null,
  owner          text collate "C",
  next_owner     text collate "C",
  drain_deadline timestamp with time zone,
  epoch          integer not null default 0,
  constraint group_slots_pkey PRIMARY KEY (cursor_id, slot),
  constraint group_slots_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES subscription_cursors(id) ON DELETE CASCADE
) with (fillfactor=70);

create table idempotency_keys (
  key           text collate "C" not null,
  request_hash  uuid not null,
  offsets       bigint[] not null,
  duplicates    boolean[] not null,
  last_position bigint not null,
  recorded_at   timestamp with time zone not null,
  constraint idempotency_keys_pkey PRIMARY KEY (key)
);
CREATE INDEX idempotency_keys_recorded_at ON idempotency_keys USING btree (recorded_at);

create table leases (
  name  text not null,
  owner uuid not null,
  epoch bigint not null,
  until timestamp with time zone not null,
  constraint leases_pkey PRIMARY KEY (name)
) with (fillfactor=50);
CREATE UNIQUE INDEX leases_epoch ON leases USING btree (name, epoch);

create table live_connections (
  id         uuid not null,
  owner      text collate "C" not null,
  epoch      bigint not null default 0,
  "position" bigint not null,
  seen_at    timestamp with time zone not null default clock_timestamp(),
  created_at timestamp with time zone not null default date_trunc('milliseconds'::text, clock_timestamp()),
  constraint live_connections_pkey PRIMARY KEY (id)
) with (fillfactor=70);
CREATE INDEX live_connections_seen_at ON live_connections USING btree (seen_at);

create table live_streams (
  connection_id     uuid not null,
  stream            text collate "C" not null,
  types             text[],
  key               text collate "C",
  path              text,
  start_position    bigint not null,
  catch_up_position bigint,
  revision          bigint not null default 1,
  receive_as        json,
  constraint live_streams_pkey PRIMARY KEY (connection_id, stream),
  constraint live_streams_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES live_connections(id) ON DELETE CASCADE
);

create table live_subscriptions (
  connection_id    uuid not null,
  subscription     text collate "C" not null,
  consumer         text collate "C" not null,
  auto_acknowledge boolean not null,
  constraint live_subscriptions_pkey PRIMARY KEY (connection_id, subscription),
  constraint live_subscriptions_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES live_connections(id) ON DELETE CASCADE
);

create table locks (
  principal   text collate "C" not null,
  key         text collate "C" not null,
  token       bigint not null,
  owner       text collate "C",
  acquired_at timestamp with time zone not null,
  expires_at  timestamp with time zone not null,
  released    boolean not null default false,
  constraint locks_pkey PRIMARY KEY (principal, key)
) with (fillfactor=70);
CREATE INDEX locks_expired ON locks USING btree (expires_at) WHERE expires_at > '-infinity'::timestamp with time zone;

create table log (
  singleton           boolean not null default true,
  log_id              uuid not null default gen_random_uuid(),
  checkpoint_position bigint not null default 0,
  created_at          timestamp with time zone not null default clock_timestamp(),
  token_key           text not null default gen_random_uuid()::text || gen_random_uuid()::text,
  constraint log_pkey PRIMARY KEY (singleton),
  constraint log_singleton_check CHECK (singleton)
);

create table migrations (
  version    integer not null,
  name       text not null,
  checksum   text not null,
  applied_at timestamp with time zone not null default now(),
  constraint migrations_pkey PRIMARY KEY (version)
);

create table outbox (
  id             bigint not null generated always as identity,
  stream         text collate "C" not null,
  type           text collate "C" not null,
  data           json,
  data_binary    bytea,
  event_id       text,
  schema_version integer not null default 1,
  correlation_id text,
  partition_key  text,
  attributes     jsonb not null default '{}'::jsonb,
  own            boolean not null default false,
  created_at     timestamp with time zone not null default clock_timestamp(),
  failure        text,
  failed_at      timestamp with time zone,
  constraint outbox_pkey PRIMARY KEY (id),
  constraint outbox_attributes_check CHECK (jsonb_typeof(attributes) = 'object'::text AND NOT attributes ?| ARRAY['specversion'::text, 'id'::text, 'type'::text, 'schemaversion'::text, 'correlationid'::text, 'partitionkey'::text, 'data'::text, 'data_base64'::text]),
  constraint outbox_check CHECK (data IS NULL OR data_binary IS NULL),
  constraint outbox_check1 CHECK (own OR NOT starts_with(type, 'sluice.'::text)),
  constraint outbox_correlation_id_check CHECK (length(correlation_id) >= 1 AND length(correlation_id) <= 256 AND correlation_id !~ '[\u0001-\u001f\u007f-\u009f]'::text),
  constraint outbox_data_check CHECK (data IS NULL OR data::jsonb IS NOT NULL),
  constraint outbox_event_id_check CHECK (length(event_id) >= 1 AND length(event_id) <= 256 AND event_id !~ '[\u0001-\u001f\u007f-\u009f]'::text),
  constraint outbox_partition_key_check CHECK (length(partition_key) >= 1 AND length(partition_key) <= 256 AND partition_key !~ '[\u0001-\u001f\u007f-\u009f]'::text),
  constraint outbox_schema_version_check CHECK (schema_version >= 1 AND schema_version <= 999999999),
  constraint outbox_stream_check CHECK (stream ~ '^[A-Za-z0-9._:-]{1,200}$'::text AND (stream <> ALL (ARRAY['.'::text, '..'::text]))),
  constraint outbox_type_check CHECK (length(type) >= 1 AND length(type) <= 256 AND type !~ '[\u0001-\u001f\u007f-\u009f]'::text)
) with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=10000);
CREATE INDEX outbox_failed ON outbox USING btree (id) WHERE failure IS NOT NULL;

create table partition_removals (
  partition text collate "C" not null,
  ephemeral boolean not null,
  constraint partition_removals_pkey PRIMARY KEY (partition)
);

create table paused_keys (
  cursor_id  bigint not null,
  key        bigint not null,
  "position" bigint not null,
  since      timestamp with time zone not null default clock_timestamp(),
  constraint paused_keys_pkey PRIMARY KEY (cursor_id, key, "position"),
  constraint paused_keys_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES subscription_cursors(id) ON DELETE CASCADE
);

create table processed_events (
  cursor_id    bigint not null,
  "position"   bigint not null,
  event_id     text collate "C" not null,
  consumer     text collate "C" not null,
  step         bigint not null,
  part         smallint not null,
  processed_at timestamp with time zone not null,
  constraint processed_events_pkey PRIMARY KEY (cursor_id, "position"),
  constraint processed_events_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES subscription_cursors(id) ON DELETE CASCADE
);
CREATE INDEX processed_events_at ON processed_events USING btree (processed_at) WHERE processed_at > '-infinity'::timestamp with time zone;
CREATE INDEX processed_events_id ON processed_events USING btree (cursor_id, event_id) WHERE event_id > ''::text;

create table projection_generations (
  projection      text collate "C" not null,
  generation      integer not null,
  role            text not null,
  schema_name     text not null,
  definition      uuid not null,
  version         integer not null,
  about           json not null,
  "position"      bigint not null default '-1'::integer,
  events          bigint not null default 0,
  paused          boolean not null,
  failed_position bigint,
  attempts        integer not null default 0,
  halted          boolean not null default false,
  failures        bigint not null default 0,
  last_error      text,
  last_error_at   timestamp with time zone,
  created_at      timestamp with time zone not null default clock_timestamp(),
  role_since      timestamp with time zone not null default clock_timestamp(),
  constraint projection_generations_pkey PRIMARY KEY (projection, generation),
  constraint projection_generations_role_check CHECK (role = ANY (ARRAY['live'::text, 'building'::text, 'snapshot'::text, 'retired'::text])),
  constraint projection_generations_projection_fkey FOREIGN KEY (projection) REFERENCES projections(name) ON DELETE CASCADE
) with (fillfactor=50);
CREATE UNIQUE INDEX projection_generations_role ON projection_generations USING btree (projection, role) WHERE role = ANY (ARRAY['live'::text, 'building'::text]);

create table projection_skips (
  projection text collate "C" not null,
  generation integer not null,
  "position" bigint not null,
  error      text,
  skipped_at timestamp with time zone not null default clock_timestamp(),
  constraint projection_skips_pkey PRIMARY KEY (projection, generation, "position"),
  constraint projection_skips_projection_generation_fkey FOREIGN KEY (projection, generation) REFERENCES projection_generations(projection, generation) ON DELETE CASCADE
);

create table projections (
  name               text collate "C" not null,
  description        text,
  paused             boolean not null,
  last_generation    integer not null default 0,
  rebuild_requested  text,
  snapshot_requested boolean not null default false,
  setup_error        text,
  setup_error_at     timestamp with time zone,
  snapshot_error     text,
  created_at         timestamp with time zone not null default clock_timestamp(),
  constraint projections_pkey PRIMARY KEY (name),
  constraint projections_rebuild_requested_check CHECK (rebuild_requested = ANY (ARRAY['beginning'::text, 'snapshot'::text]))
);

create table receipts (
  id           bigint not null generated always as identity,
  cursor_id    bigint not null,
  positions    bigint[] not null,
  delivered_at timestamp with time zone not null,
  due          timestamp with time zone,
  constraint receipts_pkey PRIMARY KEY (id)
);
CREATE INDEX receipts_due ON receipts USING btree (due) WHERE due > '-infinity'::timestamp with time zone;
CREATE INDEX receipts_first ON receipts USING btree (cursor_id, (positions[1])) WHERE positions[1] > '-1'::integer;

create table remote_dead_letters (
  id              bigint not null generated always as identity,
  remote_id       bigint not null,
  jetstream       text not null,
  sequence        bigint not null,
  stored_ms       bigint not null,
  subject         text not null,
  headers         json not null,
  payload         bytea not null,
  reason          text collate "C" not null,
  detail          text not null,
  attempts        integer not null,
  first_failed_at timestamp with time zone not null default date_trunc('milliseconds'::text, clock_timestamp()),
  last_failed_at  timestamp with time zone not null default date_trunc('milliseconds'::text, clock_timestamp()),
  due_at          timestamp with time zone,
  constraint remote_dead_letters_pkey PRIMARY KEY (id),
  constraint remote_dead_letters_remote_id_fkey FOREIGN KEY (remote_id) REFERENCES remote_streams(id) ON DELETE CASCADE
);
CREATE INDEX remote_dead_letters_dead ON remote_dead_letters USING btree (remote_id, id) WHERE due_at IS NULL;
CREATE INDEX remote_dead_letters_due ON remote_dead_letters USING btree (remote_id, due_at) WHERE due_at IS NOT NULL;

create table remote_origins (
  remote_id bigint not null,
  log_id    text collate "C" not null,
  stream    text collate "C" not null,
  "offset"  bigint not null,
  constraint remote_origins_pkey PRIMARY KEY (remote_id, log_id, stream),
  constraint remote_origins_remote_id_fkey FOREIGN KEY (remote_id) REFERENCES remote_streams(id) ON DELETE CASCADE
) with (fillfactor=50);

create table remote_standings (
  remote_id       bigint not null,
  state           text collate "C" not null,
  pending         bigint,
  behind_since_ms bigint,
  received        bigint not null,
  redelivered     bigint not null,
  last_error      text,
  last_error_at   timestamp with time zone,
  updated_at      timestamp with time zone not null,
  constraint remote_standings_pkey PRIMARY KEY (remote_id),
  constraint remote_standings_remote_id_fkey FOREIGN KEY (remote_id) REFERENCES remote_streams(id) ON DELETE CASCADE
) with (fillfactor=50);

create table remote_streams (
  id                 bigint not null generated always as identity,
  name               text collate "C" not null,
  source             json not null,
  max_deliveries     integer not null,
  backoff_initial_ms integer not null,
  backoff_factor     double precision not null,
  backoff_max_ms     integer not null,
  created_at         timestamp with time zone not null default date_trunc('milliseconds'::text, clock_timestamp()),
  revision           bigint not null default 0,
  jetstream          text,
  jetstream_created  text,
  sequence           bigint not null default 0,
  stored_ms          bigint,
  constraint remote_streams_pkey PRIMARY KEY (id),
  constraint remote_streams_name_key UNIQUE (name),
  constraint remote_streams_max_deliveries_check CHECK (max_deliveries >= 1)
) with (fillfactor=50);

create table replayed_letters (
  "position"     bigint not null,
  cursor_id      bigint not null,
  stream         text collate "C" not null,
  "offset"       bigint not null,
  event_id       text collate "C" not null,
  type           text collate "C" not null,
  recorded_at    timestamp with time zone not null,
  schema_version integer not null,
  correlation_id text collate "C",
  partition_key  text collate "C",
  attributes     json not null,
  data           json,
  data_binary    bytea,
  settled_at     timestamp with time zone,
  constraint replayed_letters_pkey PRIMARY KEY ("position", cursor_id),
  constraint replayed_letters_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES subscription_cursors(id) ON DELETE CASCADE
);
CREATE INDEX replayed_letters_cursor ON replayed_letters USING btree (cursor_id, "position");

create table revoked_deliveries (
  cursor_id  bigint not null,
  step       bigint not null,
  part       smallint not null,
  positions  bigint[] not null,
  revoked_at timestamp with time zone not null,
  constraint revoked_deliveries_pkey PRIMARY KEY (cursor_id, step, part),
  constraint revoked_deliveries_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES subscription_cursors(id) ON DELETE CASCADE
);
CREATE INDEX revoked_deliveries_at ON revoked_deliveries USING btree (revoked_at);

create table saga_watch (
  one        boolean not null default true,
  "position" bigint not null,
  constraint saga_watch_pkey PRIMARY KEY (one),
  constraint saga_watch_one_check CHECK (one)
) with (fillfactor=50);

create table sagas (
  number           bigint not null generated always as identity,
  id               uuid not null,
  saga             text collate "C" not null,
  version          integer not null,
  correlation_id   text collate "C" not null,
  state            text collate "C" not null,
  paused           boolean not null default false,
  cancel_requested boolean not null default false,
  owner            uuid,
  epoch            bigint not null default 0,
  turn             bigint not null default 0,
  lost             integer not null default 0,
  due_at           timestamp with time zone,
  waiting_type     text collate "C",
  steps            text[] not null,
  progress         json not null,
  data             json not null,
  request_hash     uuid,
  created_at       timestamp with time zone not null default clock_timestamp(),
  updated_at       timestamp with time zone not null default clock_timestamp(),
  ended_at         timestamp with time zone,
  waiting_by       text collate "C",
  waiting_key      text collate "C",
  constraint sagas_pkey PRIMARY KEY (number),
  constraint sagas_id_key UNIQUE (id),
  constraint sagas_state_check CHECK (state = ANY (ARRAY['NotStarted'::text, 'Running'::text, 'Completed'::text, 'Compensating'::text, 'Compensated'::text, 'Failed'::text])),
  constraint sagas_waiting_by_check CHECK (waiting_by = ANY (ARRAY['stream'::text, 'subject'::text, 'partition-key'::text])),
  constraint sagas_waiting_match CHECK ((waiting_by IS NULL) = (waiting_key IS NULL))
) with (fillfactor=70, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000);
CREATE INDEX sagas_correlation ON sagas USING btree (correlation_id, number);
CREATE INDEX sagas_due ON sagas USING btree (saga, due_at) WHERE due_at IS NOT NULL AND owner IS NULL;
CREATE INDEX sagas_ended ON sagas USING btree (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sagas_owner ON sagas USING btree (owner) WHERE owner IS NOT NULL;
CREATE INDEX sagas_saga ON sagas USING btree (saga, state, number);
CREATE INDEX sagas_state ON sagas USING btree (state, number);
CREATE INDEX sagas_waiting ON sagas USING btree (waiting_type, correlation_id) WHERE waiting_type IS NOT NULL;
CREATE INDEX sagas_waiting_match ON sagas USING btree (waiting_type, waiting_by, waiting_key) WHERE waiting_by IS NOT NULL;

create table schema_changes (
  id         bigint not null generated always as identity,
  type       text collate "C" not null,
  version    integer,
  change     text not null,
  detail     json,
  changed_by text collate "C" not null,
  changed_at timestamp with time zone not null,
  constraint schema_changes_pkey PRIMARY KEY (id),
  constraint schema_changes_change_check CHECK (change = ANY (ARRAY['registered'::text, 'upcaster'::text, 'description'::text, 'compatibility'::text, 'deleted'::text]))
);
CREATE INDEX schema_changes_type ON schema_changes USING btree (type, id);

create table schema_registry (
  singleton boolean not null default true,
  revision  bigint not null default 0,
  constraint schema_registry_pkey PRIMARY KEY (singleton),
  constraint schema_registry_singleton_check CHECK (singleton)
);

create table schema_types (
  type          text collate "C" not null,
  compatibility text not null default 'backward'::text,
  revision      bigint not null,
  constraint schema_types_pkey PRIMARY KEY (type),
  constraint schema_types_compatibility_check CHECK (compatibility = ANY (ARRAY['backward'::text, 'forward'::text, 'full'::text]))
);
CREATE INDEX schema_types_revision ON schema_types USING btree (revision);

create table schema_versions (
  type              text collate "C" not null,
  version           integer not null,
  schema            json not null,
  content_hash      uuid not null,
  description       text,
  upcast_language   text,
  upcast_expression text,
  reads_previous    boolean not null,
  registered_at     timestamp with time zone not null,
  registered_by     text collate "C" not null,
  constraint schema_versions_pkey PRIMARY KEY (type, version),
  constraint schema_versions_check CHECK ((upcast_language = 'jsonata'::text) = (upcast_expression IS NOT NULL)),
  constraint schema_versions_upcast_language_check CHECK (upcast_language = ANY (ARRAY['jsonata'::text, 'code'::text])),
  constraint schema_versions_version_check CHECK (version >= 1),
  constraint schema_versions_type_fkey FOREIGN KEY (type) REFERENCES schema_types(type)
);

create table snapshots (
  stream_id    bigint not null,
  owner        text collate "C" not null,
  "offset"     bigint not null,
  "position"   bigint not null,
  state        json,
  state_binary bytea,
  content_type text not null,
  tag          text,
  recorded_at  timestamp with time zone not null,
  constraint snapshots_pkey PRIMARY KEY (stream_id, owner),
  constraint snapshots_check CHECK ((state IS NULL) <> (state_binary IS NULL)),
  constraint snapshots_offset_check CHECK ("offset" >= 0)
);

create table stream_deletions (
  "position" bigint not null,
  stream     text collate "C" not null,
  constraint stream_deletions_pkey PRIMARY KEY ("position")
);

create table stream_purges (
  stream_id   bigint not null,
  from_offset bigint not null,
  to_offset   bigint not null,
  constraint stream_purges_pkey PRIMARY KEY (stream_id)
) with (fillfactor=70);

create table streams (
  id                    bigint not null generated always as identity,
  name                  text collate "C" not null,
  created_at            timestamp with time zone,
  first_offset          bigint not null default 0,
  first_bytes           bigint not null default 0,
  born_offset           bigint not null default 0,
  checkpoint_offset     bigint not null default '-1'::integer,
  checkpoint_bytes      bigint not null default 0,
  checkpoint_position   bigint not null default '-1'::integer,
  ephemeral             boolean not null default false,
  replay                boolean not null default true,
  internal              boolean not null default false,
  delivery              text not null default 'at-least-once'::text,
  max_age_ms            bigint,
  max_bytes             bigint,
  max_events            bigint,
  visibility_timeout_ms integer not null default 30000,
  max_attempts          integer not null default 5,
  backoff_initial_ms    integer not null default 1000,
  backoff_factor        double precision not null default 2,
  backoff_max_ms        integer not null default 60000,
  revision              integer not null default 0,
  validation            smallint not null default 0,
  constraint streams_pkey PRIMARY KEY (id),
  constraint streams_name_key UNIQUE (name),
  constraint streams_delivery_check CHECK (delivery = ANY (ARRAY['at-most-once'::text, 'at-least-once'::text, 'exactly-once'::text])),
  constraint streams_max_age_ms_check CHECK (max_age_ms > 0),
  constraint streams_max_bytes_check CHECK (max_bytes > 0),
  constraint streams_max_events_check CHECK (max_events > 0),
  constraint streams_validation_check CHECK (validation >= 0 AND validation <= 2)
) with (fillfactor=70);
CREATE INDEX streams_forgetting ON streams USING btree (id) WHERE ephemeral OR max_age_ms IS NOT NULL OR max_bytes IS NOT NULL OR max_events IS NOT NULL;
CREATE INDEX streams_unborn ON streams USING btree (id) WHERE created_at IS NULL AND born_offset = 0 AND NOT internal;

create table subscription_cursors (
  id              bigint not null generated always as identity,
  subscription_id bigint not null,
  consumer        text collate "C" not null,
  start_position  bigint not null,
  constraint subscription_cursors_pkey PRIMARY KEY (id),
  constraint subscription_cursors_subscription_id_consumer_key UNIQUE (subscription_id, consumer),
  constraint subscription_cursors_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES subscriptions(id) ON DELETE CASCADE
);

create table subscription_streams (
  stream          text collate "C" not null,
  subscription_id bigint not null,
  constraint subscription_streams_pkey PRIMARY KEY (stream, subscription_id),
  constraint subscription_streams_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES subscriptions(id) ON DELETE CASCADE
);
CREATE INDEX subscription_streams_subscription ON subscription_streams USING btree (subscription_id);

create table subscriptions (
  id                    bigint not null generated always as identity,
  name                  text collate "C" not null,
  mode                  text not null,
  delivery              text not null,
  queue_of              text collate "C",
  correlation           text collate "C",
  types                 text[],
  path                  text,
  start_place           text not null,
  start_position        bigint not null,
  visibility_timeout_ms bigint not null,
  max_in_flight         integer not null,
  max_attempts          integer not null,
  backoff_initial_ms    bigint not null,
  backoff_factor        double precision not null,
  backoff_max_ms        bigint not null,
  max_consumers         integer,
  consumer_timeout_ms   bigint not null,
  slots                 integer not null,
  on_failure            text not null,
  unread_timeout_ms     bigint,
  on_unread_expired     text not null,
  terminal              text[],
  push                  text not null,
  batch_interval_ms     bigint not null,
  expires_after_ms      bigint,
  metadata              json not null,
  paused                boolean not null default false,
  revision              bigint not null default 1,
  completed_at          timestamp with time zone,
  created_at            timestamp with time zone not null default date_trunc('milliseconds'::text, clock_timestamp()),
  used_at               timestamp with time zone not null default clock_timestamp(),
  deleted_at            timestamp with time zone,
  receive_as            json,
  constraint subscriptions_pkey PRIMARY KEY (id),
  constraint subscriptions_name_key UNIQUE (name),
  constraint subscriptions_queue_of_key UNIQUE (queue_of),
  constraint subscriptions_delivery_check CHECK (delivery = ANY (ARRAY['at-most-once'::text, 'at-least-once'::text, 'exactly-once'::text])),
  constraint subscriptions_mode_check CHECK (mode = ANY (ARRAY['broadcast'::text, 'exclusive'::text, 'consumer-group'::text, 'read-receipt'::text])),
  constraint subscriptions_on_failure_check CHECK (on_failure = ANY (ARRAY['pause'::text, 'skip'::text])),
  constraint subscriptions_on_unread_expired_check CHECK (on_unread_expired = ANY (ARRAY['requeue'::text, 'dead-letter'::text, 'drop'::text])),
  constraint subscriptions_push_check CHECK (push = ANY (ARRAY['immediate'::text, 'on-reconnect'::text, 'batched'::text]))
);
CREATE INDEX subscriptions_deleted ON subscriptions USING btree (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX subscriptions_expiring ON subscriptions USING btree (id) WHERE expires_after_ms IS NOT NULL;

create view cursor_states as
 SELECT c.id,
    c.subscription_id,
    c.consumer,
    COALESCE(s."position", c.start_position) AS place,
    LEAST(d.first_position, r.first_position, COALESCE(s."position", c.start_position) + 1) AS floor,
    COALESCE(d.leased, 0::bigint) AS leased,
    COALESCE(d.waiting, 0::bigint) AS waiting,
    COALESCE(d.parked, 0::bigint) AS parked
   FROM subscription_cursors c
     LEFT JOIN LATERAL ( SELECT n."position"
           FROM cursor_steps n
          WHERE n.cursor_id = c.id
          ORDER BY n.step DESC
         LIMIT 1) s ON true
     LEFT JOIN LATERAL ( SELECT min(v.positions[1]) AS first_position,
            sum(cardinality(v.positions)) FILTER (WHERE v.state = 'leased'::text) AS leased,
            sum(cardinality(v.positions)) FILTER (WHERE v.state = 'ready'::text) AS waiting,
            sum(cardinality(v.positions)) FILTER (WHERE v.state = 'parked'::text) AS parked
           FROM deliveries v
          WHERE v.cursor_id = c.id AND v.positions[1] > '-1'::integer) d ON true
     LEFT JOIN LATERAL ( SELECT v.positions[1] AS first_position
           FROM receipts v
          WHERE v.cursor_id = c.id AND v.positions[1] > '-1'::integer
          ORDER BY (v.positions[1])
         LIMIT 1) r ON true;

create view stream_heads as
 SELECT s.id,
    s.name,
    s.created_at,
    s.ephemeral,
    s.replay,
    s.internal,
    s.first_offset,
    l.log_id,
    COALESCE(e."offset", s.checkpoint_offset) AS last_offset,
    COALESCE(e."position", s.checkpoint_position) AS last_position,
    COALESCE(e.stream_bytes, s.checkpoint_bytes) - s.first_bytes AS bytes,
    s.delivery,
    s.max_age_ms,
    s.max_bytes,
    s.max_events,
    s.visibility_timeout_ms,
    s.max_attempts,
    s.backoff_initial_ms,
    s.backoff_factor,
    s.backoff_max_ms,
    s.validation,
    ( SELECT row_to_json(c.*) AS row_to_json
           FROM cross_service_streams c
          WHERE c.stream_id = s.id) AS cross_service
   FROM log l
     CROSS JOIN streams s
     LEFT JOIN LATERAL ( SELECT ev."offset",
            ev."position",
            ev.stream_bytes
           FROM events ev
          WHERE ev.stream_id = s.id AND ev."position" >= l.checkpoint_position
          ORDER BY ev."offset" DESC
         LIMIT 1) e ON true;

create view stream_publications as
 SELECT h.name AS stream,
    c.nats_stream AS jetstream,
    c.nats_subject AS subject,
        CASE
            WHEN l.name IS NULL THEN 'waiting'::text
            ELSE COALESCE(b.state, 'waiting'::text)
        END AS state,
        CASE
            WHEN l.name IS NULL THEN NULL::text
            ELSE b.error
        END AS error,
    b.since,
    COALESCE(k."offset", '-1'::integer::bigint) AS "offset",
    k.nats_sequence AS sequence,
    k.nats_created AS created,
    NULLIF(k.updated_at, '-infinity'::timestamp with time zone) AS confirmed_at,
    GREATEST(h.last_offset - GREATEST(COALESCE(k."offset", '-1'::integer::bigint), h.first_offset - 1) - w.ahead, 0::bigint) AS lag_events,
        CASE
            WHEN h.last_offset <= COALESCE(k."offset", '-1'::integer::bigint) THEN 0::numeric
            ELSE COALESCE(GREATEST(EXTRACT(epoch FROM clock_timestamp() - n.recorded_at), 0::numeric), 0::numeric)
        END::double precision AS lag_seconds,
    w.total AS withheld
   FROM cross_service_streams c
     JOIN stream_heads h ON h.id = c.stream_id
     LEFT JOIN bridge_states b ON b.stream_id = c.stream_id
     LEFT JOIN bridge_cursors k ON k.stream_id = c.stream_id AND k.nats_stream = c.nats_stream
     LEFT JOIN leases l ON l.name = 'bridge'::text AND l.until > clock_timestamp()
     CROSS JOIN LATERAL ( SELECT count(*) AS total,
            count(*) FILTER (WHERE x."offset" > COALESCE(k."offset", '-1'::integer::bigint)) AS ahead
           FROM bridge_withheld x
          WHERE x.stream_id = c.stream_id AND x.nats_stream = c.nats_stream) w
     LEFT JOIN LATERAL ( SELECT e.recorded_at
           FROM events e
          WHERE e.stream_id = c.stream_id AND e."position" > COALESCE(k."position", '-1'::integer::bigint) AND e."offset" >= GREATEST(COALESCE(k."offset", '-1'::integer::bigint) + 1, h.first_offset) AND NOT (EXISTS ( SELECT
                   FROM bridge_withheld x
                  WHERE x.stream_id = c.stream_id AND x.nats_stream = c.nats_stream AND x."offset" = e."offset"))
          ORDER BY e."position"
         LIMIT 1) n ON true;

CREATE OR REPLACE FUNCTION bridge_advance(p_owner uuid, p_epoch bigint, p_cursors json, p_anew boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform lease_check('bridge', p_owner, p_epoch);
  -- One that was made anew may have room for what the last one of its name did not take.
  delete from bridge_withheld w using json_populate_recordset(null::bridge_cursors, p_cursors) n
    where p_anew and w.stream_id = n.stream_id and w.nats_stream = n.nats_stream and w.nats_created <> n.nats_created;
  insert into bridge_cursors as c (stream_id, nats_stream, nats_created, nats_sequence, "offset", position, log_id, updated_at)
    select n.stream_id, n.nats_stream, n.nats_created, n.nats_sequence, n."offset", n.position, n.log_id,
           case when n."offset" < 0 then '-infinity' else clock_timestamp() end
    from json_populate_recordset(null::bridge_cursors, p_cursors) n
      -- One that was removed meanwhile takes no other along.
      join streams s on s.id = n.stream_id
    order by n.stream_id
    on conflict (stream_id) do update
      set nats_stream = excluded.nats_stream, nats_created = excluded.nats_created, nats_sequence = excluded.nats_sequence,
          "offset" = excluded."offset", position = excluded.position, log_id = excluded.log_id,
          updated_at = case
            when excluded."offset" < 0
              or excluded."offset" > c."offset" and (excluded.nats_sequence > c.nats_sequence
                or excluded.nats_stream <> c.nats_stream or excluded.nats_created <> c.nats_created)
              then excluded.updated_at
            else c.updated_at
          end
      where p_anew or c.nats_stream = excluded.nats_stream and c.nats_created = excluded.nats_created
        and c."offset" <= excluded."offset" and c.nats_sequence <= excluded.nats_sequence;
end $function$;

CREATE OR REPLACE FUNCTION bridge_tell(p_owner uuid, p_epoch bigint, p_states json)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform lease_check('bridge', p_owner, p_epoch);
  insert into bridge_states as b (stream_id, state, error, since)
    select n.stream_id, n.state, n.error, n.since from json_populate_recordset(null::bridge_states, p_states) n
      join cross_service_streams c on c.stream_id = n.stream_id
    order by n.stream_id
    on conflict (stream_id) do update set state = excluded.state, error = excluded.error, since = excluded.since;
end $function$;

CREATE OR REPLACE FUNCTION bridge_withhold(p_owner uuid, p_epoch bigint, p_stream_id bigint, p_offset bigint, p_event_id text, p_type text, p_reason text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform lease_check('bridge', p_owner, p_epoch);
  insert into bridge_withheld (stream_id, nats_stream, nats_created, "offset", event_id, type, reason, withheld_at)
    select c.stream_id, c.nats_stream, c.nats_created, p_offset, p_event_id, p_type, p_reason, clock_timestamp()
    from bridge_cursors c where c.stream_id = p_stream_id
    on conflict (stream_id, nats_stream, "offset") do nothing;
end $function$;

CREATE OR REPLACE FUNCTION command_answer(p_key text, p_request_hash uuid, p_answer json)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  -- As log_append does: an answer that comes between its look and its insert would fail it.
  perform command_answers_lock(array[p_key]);
  insert into command_answers (key, request_hash, answer, offsets, recorded_at)
    values (p_key, p_request_hash, p_answer, '{}', clock_timestamp())
    on conflict (key) do nothing;
  return found;
end $function$;

CREATE OR REPLACE FUNCTION command_answers_lock(p_keys text[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform pg_advisory_xact_lock(hashtext('sluice command answers ' || current_schema()), l.id)
    from (select distinct (hashtextextended(u.key, 0) & 1023)::int as id from unnest(p_keys) u(key) order by 1) l;
end $function$;

CREATE OR REPLACE FUNCTION consumer_enter(p_subscription bigint, p_name text, OUT outcome text, OUT cursor_id bigint, OUT session bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
begin
  select j.outcome, j.cursor_id into outcome, cursor_id from consumer_join(p_subscription, p_name, null) j;
  if outcome not in ('joined', 'present') then return; end if;
  update consumers c set session = greatest(c.session + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
    where c.subscription_id = p_subscription and c.name = p_name
    returning c.session into session;
end $function$;

CREATE OR REPLACE FUNCTION consumer_join(p_subscription bigint, p_name text, p_metadata json, OUT outcome text, OUT cursor_id bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  s subscriptions;
  own text;
  aside bigint;
  waiting bigint;
begin
  select * into s from subscriptions sub where sub.id = p_subscription and sub.deleted_at is null;
  if not found then
    outcome := 'gone';
    return;
  end if;
  own := case when s.mode in ('broadcast', 'read-receipt') then p_name else '' end;
  update consumers c set seen_at = clock_timestamp(), metadata = coalesce(p_metadata, c.metadata)
    where c.subscription_id = p_subscription and c.name = p_name
      and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond';
  outcome := case when found then 'present' else 'joined' end;
  select k.id into cursor_id from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = own;
  if outcome = 'joined' or cursor_id is null then
    -- In the order of subscription_lock. One after the other, for the maximum must hold; and the mode may be another by now.
    perform from consumers c where c.subscription_id = p_subscription and c.name = p_name for no key update;
    perform from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = '' for no key update;
    select * into s from subscriptions sub where sub.id = p_subscription and sub.deleted_at is null for no key update;
    if not found then
      outcome := 'gone';
      cursor_id := null;
      return;
    end if;
    own := case when s.mode in ('broadcast', 'read-receipt') then p_name else '' end;
    if exists (select from consumers c where c.subscription_id = p_subscription and c.name = p_name
               and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond') then
      outcome := 'present';
    else
      outcome := 'joined';
      if s.max_consumers is not null and s.max_consumers <= (
           select count(*) from consumers c where c.subscription_id = p_subscription
             and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond') then
        outcome := 'full';
        cursor_id := null;
        return;
      end if;
    end if;
    insert into consumers as c (subscription_id, name, metadata, seen_at) values (p_subscription, p_name, coalesce(p_metadata, '{}'), clock_timestamp())
      on conflict (subscription_id, name) do update set seen_at = excluded.seen_at, set_aside = null, metadata = coalesce(p_metadata, c.metadata);
    if outcome = 'joined' and s.expires_after_ms is not null then
      update subscriptions sub set used_at = clock_timestamp() where sub.id = p_subscription;
    end if;
    select k.id into cursor_id from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = own;
    if not found then
      insert into subscription_cursors (subscription_id, consumer, start_position) values (p_subscription, own, s.start_position)
        returning id into cursor_id;
    end if;
  end if;
  if s.mode = 'consumer-group' and outcome = 'present' then
    select c.set_aside into aside from consumers c where c.subscription_id = p_subscription and c.name = p_name;
    if aside is not null then
      -- It takes part again when it holds nothing any more, and half of what waited then is gone.
      if exists (select from deliveries d where d.cursor_id = consumer_join.cursor_id and d.consumer = p_name and d.consumer > '') then
        return;
      end if;
      select coalesce(sum(cardinality(d.positions)), 0) into waiting
        from deliveries d where d.cursor_id = consumer_join.cursor_id and d.owner >= '';
      if waiting > aside / 2 then return; end if;
      update consumers c set set_aside = null where c.subscription_id = p_subscription and c.name = p_name;
    end if;
  end if;
  -- Also whom a heartbeat has kept after its slots were given away.
  if s.mode = 'consumer-group' and (outcome = 'joined' or not exists (
       select from group_slots g where g.cursor_id = consumer_join.cursor_id and coalesce(g.next_owner, g.owner) = p_name)) then
    perform group_rebalance(cursor_id);
  end if;
end $function$;

CREATE OR REPLACE FUNCTION consumer_leave(p_subscription bigint, p_name text, p_session bigint)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  shared bigint;
begin
  -- Whom a heartbeat has made a member again, after it was forgotten, has no session.
  perform from consumers c where c.subscription_id = p_subscription and c.name = p_name and c.session <= p_session for update;
  -- It has connected anew since, here or elsewhere.
  if not found then return null; end if;
  select k.id into shared from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = '' for no key update;
  -- What is overdue is not its own any more: of very much that it held, the rest is taken back by and by.
  if exists (
    select from deliveries d
    where d.cursor_id = shared and d.consumer = p_name and d.consumer > '' and d.due > clock_timestamp()) then return null; end if;
  delete from consumers c where c.subscription_id = p_subscription and c.name = p_name;
  raise notice using errcode = 'SL003', message = 'a member left', detail = 1;
  if shared is not null then perform group_rebalance(shared); end if;
  return coalesce(shared, 0);
end $function$;

CREATE OR REPLACE FUNCTION consumer_register(p_subscription bigint, p_name text, p_metadata json, p_start bigint, OUT outcome text, OUT cursor_id bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
begin
  select j.outcome, j.cursor_id into outcome, cursor_id from consumer_join(p_subscription, p_name, p_metadata) j;
  if p_start is null then return; end if;
  -- Nobody has seen a cursor that this transaction has made.
  update subscription_cursors k set start_position = p_start
    where k.id = consumer_register.cursor_id and k.consumer = p_name and k.xmin = pg_current_xact_id()::xid;
end $function$;

CREATE OR REPLACE FUNCTION consumer_remove(p_subscription bigint, p_name text)
 RETURNS TABLE(cursor_id bigint)
 LANGUAGE plpgsql
AS $function$
declare
  known boolean := false;
begin
  delete from consumers c where c.subscription_id = p_subscription and c.name = p_name;
  known := found;
  if cursors_remove(p_subscription, p_name) = 0 and not known then return; end if;
  select k.id into cursor_id from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = '';
  if cursor_id is not null then perform delivery_release(cursor_id, array[p_name], null, null, 'the consumer was removed'), group_rebalance(cursor_id); end if;
  -- It may have been the last one that had not come to its end.
  perform subscription_complete(p_subscription);
  return next;
end $function$;

CREATE OR REPLACE FUNCTION consumers_forget(p_after bigint, p_limit integer)
 RETURNS TABLE(subscription_id bigint, consumer text, cursor_id bigint, taken_back integer)
 LANGUAGE plpgsql
AS $function$
declare
  now_at constant timestamptz := clock_timestamp();
  s record;
  shared bigint;
  silent text[];
  k record;
begin
  subscription_id := p_after;
  loop
    select m.subscription_id as id, sub.queue_of is not null as is_queue,
           now_at - sub.consumer_timeout_ms * interval '1 millisecond' as since,
           case when sub.mode in ('broadcast', 'read-receipt') then p_limit end as most
      into s
      from consumers m join subscriptions sub on sub.id = m.subscription_id
      where m.subscription_id > consumers_forget.subscription_id and sub.deleted_at is null
        and m.seen_at <= now_at - sub.consumer_timeout_ms * interval '1 millisecond'
      order by m.subscription_id limit 1;
    if not found then return; end if;
    subscription_id := s.id;
    select c.id into shared from subscription_cursors c where c.subscription_id = s.id and c.consumer = '';
    silent := array(
      select m.name from consumers m
      where m.subscription_id = s.id and m.seen_at <= s.since
        and not (s.is_queue and exists (
          select from deliveries d where d.cursor_id = shared and d.consumer = m.name and d.consumer > '' and d.due > now_at))
      order by m.name limit s.most for no key update skip locked);
    exit when silent <> '{}';
  end loop;
  delete from consumers m where m.subscription_id = s.id and m.name = any(silent);
  for k in
    select c.id, c.consumer as own from subscription_cursors c
    where c.subscription_id = s.id and c.consumer = any(array[''] || silent) order by c.id for no key update
  loop
    cursor_id := k.id;
    for consumer, taken_back in
      select n.name, coalesce((select sum(cardinality(d.positions))::int from deliveries d
                               where d.cursor_id = k.id and d.consumer = n.name and d.consumer > ''), 0)
      from unnest(silent) n(name) where k.own in ('', n.name)
    loop
      return next;
    end loop;
    perform delivery_release(k.id, case when k.own = '' then silent else array[k.own] end, null, null, 'the consumer fell silent');
    if k.own = '' then perform group_rebalance(k.id); end if;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION consumers_seen(p_cursors bigint[], p_steps bigint[], p_parts smallint[])
 RETURNS void
 LANGUAGE sql
AS $function$
  update consumers c set seen_at = clock_timestamp()
    from (
      select m.subscription_id, m.name
      from (
        select distinct k.subscription_id, d.consumer
        from unnest(p_cursors, p_steps, p_parts) u(cursor_id, step, part)
          join deliveries d on d.step = u.step and d.cursor_id = u.cursor_id and d.part = u.part and d.state = 'leased'
          join subscription_cursors k on k.id = u.cursor_id
      ) h
        join consumers m on m.subscription_id = h.subscription_id and m.name = h.consumer
        join subscriptions s on s.id = m.subscription_id
      where m.seen_at < clock_timestamp() - least(s.consumer_timeout_ms / 4, 15000) * interval '1 millisecond'
      -- In one order for all, so that two of these never wait for each other.
      order by m.subscription_id, m.name for no key update of m
    ) o
    where c.subscription_id = o.subscription_id and c.name = o.name
$function$;

CREATE OR REPLACE FUNCTION correlated_positions(p_correlation text, p_cursor bigint, p_end bigint, p_forward boolean, p_limit integer)
 RETURNS bigint[]
 LANGUAGE plpgsql
 STABLE
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
AS $function$
begin
  if p_forward then
    return array(
      select e.position from events e
      where not e.ephemeral and e.correlation_id is not null
        and (e.correlation_id, e.position) > (p_correlation, p_cursor) and (e.correlation_id, e.position) <= (p_correlation, p_end)
        and e.position > p_cursor and e.position <= p_end
      order by e.correlation_id, e.position limit p_limit);
  end if;
  return array(
    select e.position from events e
    where not e.ephemeral and e.correlation_id is not null
      and (e.correlation_id, e.position) < (p_correlation, p_cursor) and (e.correlation_id, e.position) >= (p_correlation, p_end)
      and e.position < p_cursor and e.position >= p_end
    order by e.correlation_id desc, e.position desc limit p_limit);
end $function$;

CREATE OR REPLACE FUNCTION cursor_complete(p_cursor bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  at bigint;
  is_completed boolean;
  changed boolean;
  s record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return false; end if;
  select n.place into at from cursor_next(p_cursor, clock_timestamp()) n;
  is_completed := exists (select from cursor_ends e where e.cursor_id = p_cursor and e.position = at) and cursor_floor(p_cursor) > at;
  update cursor_ends e set completed_at = case when is_completed and e.position = at then clock_timestamp() end
    where e.cursor_id = p_cursor and (e.completed_at is not null) <> (is_completed and e.position = at);
  changed := found;
  select sub.id, sub.completed_at into s
    from subscription_cursors c join subscriptions sub on sub.id = c.subscription_id where c.id = p_cursor;
  if changed or not is_completed and s.completed_at is not null then perform subscription_complete(s.id); end if;
  return is_completed;
end $function$;

CREATE OR REPLACE FUNCTION cursor_end(p_cursor bigint, p_revision bigint, p_position bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
begin
  -- In the order of subscription_lock.
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  -- A change of the configuration forgets the ends of before: it comes wholly before this, or after.
  perform from subscriptions s
    where s.id = (select c.subscription_id from subscription_cursors c where c.id = p_cursor) and s.revision = p_revision
    for share;
  if found then
    insert into cursor_ends (cursor_id, position)
      select c.id, p_position from subscription_cursors c where c.id = p_cursor
      on conflict do nothing;
    return 'ok';
  end if;
  return case when exists (select from subscription_cursors c where c.id = p_cursor) then 'changed' else 'gone' end;
end $function$;

CREATE OR REPLACE FUNCTION cursor_expire(p_cursor bigint, p_since timestamp with time zone)
 RETURNS integer
 LANGUAGE sql
AS $function$
  select taken from delivery_expire(p_cursor, p_since)
$function$;

CREATE OR REPLACE FUNCTION cursor_floor(p_cursor bigint)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
  select least(
    (select d.positions[1] from deliveries d where d.cursor_id = p_cursor and d.positions[1] > -1 order by d.positions[1] limit 1),
    (select r.positions[1] from receipts r where r.cursor_id = p_cursor and r.positions[1] > -1 order by r.positions[1] limit 1),
    (select n.place + 1 from cursor_next(p_cursor, clock_timestamp()) n))
$function$;

CREATE OR REPLACE FUNCTION cursor_keeps_receipts(p_cursor bigint)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
  select s.mode = 'read-receipt' from subscription_cursors c join subscriptions s on s.id = c.subscription_id where c.id = p_cursor
$function$;

CREATE OR REPLACE FUNCTION cursor_lag(p_subscription bigint, p_cursor bigint, p_place bigint, p_unsettled bigint, p_limit integer, OUT events bigint, OUT is_least boolean, OUT seconds double precision)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  first_position bigint;
  oldest_at timestamptz;
begin
  if exists (select from cursor_ends e where e.cursor_id = p_cursor and e.position = p_place) then
    -- What lies behind its end is not to come.
    events := p_unsettled;
    is_least := false;
  else
    select p_unsettled + b.events, b.is_least, b.first_at into events, is_least, oldest_at
      from subscription_backlog(p_subscription, p_place, p_limit) b;
  end if;
  if p_unsettled > 0 then
    select d.positions[1] into first_position from deliveries d
      where d.cursor_id = p_cursor and d.positions[1] > -1 order by d.positions[1] limit 1;
    -- Its stream may have forgotten the event: the next one in the log is about as old.
    oldest_at := coalesce(
      least(oldest_at, (select e.recorded_at from events e where e.position >= first_position order by e.position limit 1)), clock_timestamp());
  end if;
  seconds := greatest(0, coalesce(round(extract(epoch from clock_timestamp() - oldest_at)::numeric, 3), 0));
end $function$;

CREATE OR REPLACE FUNCTION cursor_next(p_cursor bigint, p_now timestamp with time zone, OUT step bigint, OUT place bigint)
 RETURNS record
 LANGUAGE sql
 STABLE
AS $function$
  select greatest(coalesce(s.step, 0) + 1, (extract(epoch from p_now) * 1000000)::bigint), coalesce(s.position, c.start_position)
  from subscription_cursors c
  left join lateral (
    select n.step, n.position from cursor_steps n where n.cursor_id = c.id order by n.step desc limit 1
  ) s on true
  where c.id = p_cursor
$function$;

CREATE OR REPLACE FUNCTION cursor_reset(p_cursor bigint, p_position bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  next_step bigint;
  held record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return false; end if;
  select n.step into next_step from cursor_next(p_cursor, clock_timestamp()) n;
  for held in
    delete from deliveries d where d.cursor_id = p_cursor and d.due > '-infinity'
      returning d.step, d.part, d.positions, d.state
  loop
    continue when held.state <> 'leased';
    perform delivery_revoke(p_cursor, held.step, held.part, held.positions);
  end loop;
  delete from delivery_failures f where f.cursor_id = p_cursor;
  delete from replayed_letters r where r.cursor_id = p_cursor;
  -- After the leases: an acknowledgement that was on its way has made its receipts by now.
  delete from receipts r where r.cursor_id = p_cursor and r.positions[1] > -1;
  delete from early_reads e where e.cursor_id = p_cursor;
  delete from processed_events p where p.cursor_id = p_cursor and p.position > p_position;
  delete from paused_keys k where k.cursor_id = p_cursor;
  insert into cursor_steps (cursor_id, step, position) values (p_cursor, next_step, p_position);
  perform cursor_complete(p_cursor);
  return true;
end $function$;

CREATE OR REPLACE FUNCTION cursor_resume_keys(p_cursor bigint)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  freed bigint[];
begin
  if not exists (select from paused_keys k where k.cursor_id = p_cursor) then return 0; end if;
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  delete from paused_keys k
    where k.cursor_id = p_cursor
      and not exists (select from dead_letters l where l.cursor_id = k.cursor_id and l.position = k.position)
      and exists (
        select from paused_keys o join dead_letters l on l.cursor_id = o.cursor_id and l.position = o.position
        where o.cursor_id = p_cursor and o.key = k.key);
  freed := array(
    select distinct k.key from paused_keys k
    where k.cursor_id = p_cursor
      and not exists (select from dead_letters l where l.cursor_id = k.cursor_id and l.position = k.position)
    order by k.key);
  perform group_unpause(p_cursor, freed);
  return cardinality(freed);
end $function$;

CREATE OR REPLACE FUNCTION cursor_settle_removed(p_cursor bigint, p_before bigint, p_after bigint, p_limit integer)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  held record;
  removed bigint[];
  reached bigint;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  for held in
    select d.step, d.part, d.piece, d.positions from deliveries d
    where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] > p_after and d.positions[1] < p_before
    order by d.positions[1] limit p_limit for update
  loop
    reached := held.positions[1];
    removed := array(
      select u.position from unnest(held.positions) u(position)
      where u.position < p_before and not event_is_there(u.position)
        and not exists (select from replayed_letters r where r.position = u.position and r.cursor_id = p_cursor));
    continue when removed = '{}';
    perform delivery_take_out(held.step, p_cursor, held.part, held.piece, removed);
    delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(removed);
  end loop;
  return reached;
end $function$;

CREATE OR REPLACE FUNCTION cursor_step(p_cursor bigint)
 RETURNS bigint
 LANGUAGE sql
AS $function$
  insert into cursor_steps (cursor_id, step, position)
    select p_cursor, n.step, n.place from cursor_next(p_cursor, clock_timestamp()) n
    returning step
$function$;

CREATE OR REPLACE FUNCTION cursor_steps_forget(p_after bigint, p_cursors integer, p_limit integer, OUT reached bigint, OUT gone integer, OUT is_rest boolean)
 RETURNS record
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
  c record;
  newest bigint;
  removed int;
begin
  gone := 0;
  is_rest := false;
  -- Steps that come back after a crash are removed again.
  perform set_config('synchronous_commit', 'off', true);
  for c in select k.id from subscription_cursors k where k.id > p_after order by k.id limit p_cursors loop
    reached := c.id;
    select n.step into newest from cursor_steps n where n.cursor_id = c.id order by n.step desc limit 1;
    delete from cursor_steps n where n.cursor_id = c.id and n.step = any(array(
      select o.step from cursor_steps o where o.cursor_id = c.id and o.step < newest order by o.step limit p_limit));
    get diagnostics removed = row_count;
    gone := gone + removed;
    is_rest := is_rest or removed = p_limit;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION cursors_clear(p_subscription bigint, p_cursors integer, p_limit integer)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  ids bigint[];
  removed int;
begin
  ids := array(
    select c.id from subscription_cursors c where c.subscription_id = p_subscription order by c.id limit p_cursors for no key update);
  if ids = '{}' then return false; end if;
  -- By their keys, for an acknowledgement may make a new version of a row meanwhile.
  with listed as materialized (
    select d.step, d.cursor_id, d.part, d.piece from deliveries d where d.cursor_id = any(ids) and d.due > '-infinity' limit p_limit
  )
  delete from deliveries d using listed l where d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part and d.piece = l.piece;
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from receipts r where r.id = any(array(
    select o.id from receipts o where o.cursor_id = any(ids) and o.positions[1] > -1 limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from cursor_steps n where n.ctid = any(array(select o.ctid from cursor_steps o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from revoked_deliveries n where n.ctid = any(array(select o.ctid from revoked_deliveries o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from delivery_failures n where n.ctid = any(array(select o.ctid from delivery_failures o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from processed_events n where n.ctid = any(array(select o.ctid from processed_events o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from early_reads n where n.ctid = any(array(select o.ctid from early_reads o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from replayed_letters n where n.ctid = any(array(select o.ctid from replayed_letters o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  -- An acknowledgement may have taken some of those that were listed: then there are more.
  if exists (select from deliveries d where d.cursor_id = any(ids) and d.due > '-infinity')
     or exists (select from receipts r where r.cursor_id = any(ids) and r.positions[1] > -1) then return true; end if;
  delete from subscription_cursors c where c.id = any(ids);
  return cardinality(ids) = p_cursors;
end $function$;

CREATE OR REPLACE FUNCTION cursors_remove(p_subscription bigint, p_consumer text)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  ids bigint[];
begin
  ids := array(
    select c.id from subscription_cursors c
    where c.subscription_id = p_subscription and (p_consumer is null or c.consumer = p_consumer)
    order by c.id for no key update);
  delete from deliveries d where d.cursor_id = any(ids) and d.due > '-infinity';
  delete from receipts r where r.cursor_id = any(ids) and r.positions[1] > -1;
  delete from cursor_steps n where n.cursor_id = any(ids);
  delete from subscription_cursors c where c.id = any(ids);
  return cardinality(ids);
end $function$;

CREATE OR REPLACE FUNCTION cursors_with_deliveries(p_after bigint, p_limit integer, p_since timestamp with time zone, p_before timestamp with time zone)
 RETURNS TABLE(cursor_id bigint, overdue boolean)
 LANGUAGE sql
 STABLE
 SET enable_seqscan TO 'off'
AS $function$
  with recursive c(id, n) as (
    (select d.cursor_id, 1 from deliveries d where d.cursor_id > p_after and d.due > '-infinity' order by d.cursor_id limit 1)
    union all
    select (select d.cursor_id from deliveries d where d.cursor_id > c.id and d.due > '-infinity' order by d.cursor_id limit 1), c.n + 1
    from c where c.id is not null and c.n < p_limit
  )
  select c.id, coalesce((select true from deliveries d where d.cursor_id = c.id and d.due > '-infinity' and d.due >= p_since
                           and d.due <= p_before and d.state = 'leased' limit 1), false)
  from c where c.id is not null
$function$;

CREATE OR REPLACE FUNCTION dead_letters_replay(p_cursor bigint, p_ids bigint[], p_keys bigint[])
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  replayed int;
  place bigint;
  given bigint[];
  is_open bigint[];
  lowest bigint;
  highest bigint;
  due_now record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return 0; end if;
  select n.place into place from cursor_next(p_cursor, clock_timestamp()) n;
  with taken as (
    delete from dead_letters l where l.id = any(p_ids) returning l.*
  ), kept as (
    insert into replayed_letters as r (
        position, cursor_id, stream, "offset", event_id, type, recorded_at, schema_version, correlation_id, partition_key,
        attributes, data, data_binary)
      select distinct on (t.position) t.position, p_cursor, t.stream, t."offset", t.event_id, t.type, t.recorded_at,
             t.schema_version, t.correlation_id, t.partition_key, t.attributes, t.data, t.data_binary
      from taken t order by t.position
      on conflict (position, cursor_id) do update set settled_at = null
  )
  select count(*), array_agg(t.position), array_agg(u.key) as keys into replayed, given, p_keys
    from taken t join unnest(p_ids, p_keys) u(id, key) on u.id = t.id;
  if replayed = 0 then return 0; end if;
  perform cursor_resume_keys(p_cursor);

  -- By one pass over the batches that they may stand in: each by itself would cost as many.
  select min(g.position), max(g.position) into lowest, highest from unnest(given) g(position);
  is_open := array((
      select u.position from deliveries d cross join lateral unnest(d.positions) u(position)
      where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] <= highest and d.positions[cardinality(d.positions)] >= lowest
      union all
      select u.position from receipts r cross join lateral unnest(r.positions) u(position)
      where r.cursor_id = p_cursor and r.positions[1] > -1 and r.positions[1] <= highest and r.positions[cardinality(r.positions)] >= lowest
    ) intersect select g.position from unnest(given) g(position));
  -- After a reset it may be out again, or still to come by itself: then it is not handed out twice.
  select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into due_now
    from (select g.position, min(g.key) as key from unnest(given, p_keys) g(position, key) group by g.position) u
    where u.position <> all(is_open) and (u.position <= place or not event_is_there(u.position));
  if due_now.positions is null then return replayed; end if;
  delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(due_now.positions);
  delete from processed_events p where p.cursor_id = p_cursor and p.position = any(due_now.positions);
  perform delivery_wait(p_cursor, due_now.positions,
    case when (select s.mode from subscription_cursors c join subscriptions s on s.id = c.subscription_id where c.id = p_cursor) = 'consumer-group'
         then due_now.keys end, clock_timestamp());
  -- What was completed is open again.
  perform cursor_complete(p_cursor);
  return replayed;
end $function$;

CREATE OR REPLACE FUNCTION delivery_bound_lock(p_streams text[], p_exclude boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  name text;
begin
  for name in select distinct u.name collate "C" from unnest(p_streams) u(name) order by 1 loop
    if p_exclude then perform pg_advisory_xact_lock(hashtext('sluice delivery'), hashtext(name));
    else perform pg_advisory_xact_lock_shared(hashtext('sluice delivery'), hashtext(name));
    end if;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION delivery_claim(p_cursor bigint, p_revision bigint, p_after bigint, p_upto bigint, p_candidates bigint[], p_consumers text[], p_wants integer[], p_timeouts_ms bigint[], p_leased boolean[], p_max_in_flight integer, p_look boolean, p_first_steps bigint[], p_first_due timestamp with time zone, OUT status text, OUT step bigint, OUT place bigint, OUT now_at timestamp with time zone, OUT claimants integer[], OUT counts integer[], OUT positions bigint[], OUT attempts integer[], OUT deadlines_ms bigint[], OUT first_steps bigint[], OUT first_due timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  old_place bigint;
  is_rest boolean;
  held int[];
  wants int[];
  wanted int := 0;
  firsts int[];
  waiting record;
  retries bigint[] := '{}';
  tries int[];
  -- How many of the first events may have failed before.
  retry_count int;
  skipped int;
  fresh bigint[] := '{}';
  available int;
  fair int;
  left_over int;
  share int;
  extra int;
  at int := 0;
  keeps_receipts boolean;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if p_look and found then select e.is_rest into is_rest from delivery_expire(p_cursor, p_first_due) e; end if;
  now_at := clock_timestamp();
  select case when sub.revision <> p_revision then 'changed' when sub.completed_at is not null then 'completed'
              when sub.paused then 'paused' else 'ok' end,
         greatest(coalesce(s.step, 0) + 1, (extract(epoch from now_at) * 1000000)::bigint), coalesce(s.position, c.start_position),
         sub.mode = 'read-receipt'
    into status, step, place, keeps_receipts
    from subscription_cursors c join subscriptions sub on sub.id = c.subscription_id
    left join lateral (
      select n.step, n.position from cursor_steps n where n.cursor_id = c.id order by n.step desc limit 1
    ) s on true
    where c.id = p_cursor;
  if not found then status := 'gone'; end if;
  if status <> 'ok' then return; end if;
  old_place := place;
  -- What was read before it was handed out never is.
  if keeps_receipts then
    p_candidates := array(
      select c.position from unnest(p_candidates) c(position)
      where not exists (select from early_reads e where e.cursor_id = p_cursor and e.position = c.position)
      order by c.position);
  end if;

  select array_agg(coalesce((
      select sum(cardinality(d.positions)) from deliveries d
      where d.cursor_id = p_cursor and d.consumer = u.consumer and d.consumer > '' and d.step >= u.first_step), 0)::int order by u.n)
    into held from unnest(p_consumers, p_first_steps) with ordinality u(consumer, first_step, n);
  wants := p_wants;
  for i in 1 .. cardinality(p_consumers) loop
    -- Two connections of one consumer share its credit.
    if i > 1 and p_consumers[i] = any(p_consumers[1 : i - 1]) then
      held[i] := held[i] + (
        select sum(w.want) from unnest(p_consumers[1 : i - 1], wants[1 : i - 1]) w(consumer, want) where w.consumer = p_consumers[i]);
    end if;
    if wants[i] > p_max_in_flight - held[i] then wants[i] := greatest(0, p_max_in_flight - held[i]); end if;
    wanted := wanted + wants[i];
  end loop;

  if p_look then
    for waiting in
      select d.step, d.part, d.piece, d.positions from deliveries d
      where d.cursor_id = p_cursor and d.state = 'ready' and d.due > '-infinity' and d.due <= now_at and d.due >= p_first_due
      order by d.due
    loop
      extra := wanted - cardinality(retries);
      exit when extra <= 0;
      retries := retries || waiting.positions[1:extra];
      if cardinality(waiting.positions) > extra then
        update deliveries d set positions = waiting.positions[extra + 1 :]
          where d.step = waiting.step and d.cursor_id = p_cursor and d.part = waiting.part and d.piece = waiting.piece;
      else
        delete from deliveries d
          where d.step = waiting.step and d.cursor_id = p_cursor and d.part = waiting.part and d.piece = waiting.piece;
      end if;
    end loop;
    if retries <> '{}' then
      select array_agg(r.position order by r.position), array_agg(coalesce(f.attempts, 0) + 1 order by r.position)
        into retries, tries
        from unnest(retries) r(position)
        left join delivery_failures f on f.cursor_id = p_cursor and f.position = r.position;
    end if;
  end if;

  if place >= p_after and place < p_upto then
    select count(*) into skipped from unnest(p_candidates) c where c <= old_place;
    fresh := p_candidates[skipped + 1 : skipped + wanted - cardinality(retries)];
    -- Beyond the last candidate nothing matches up to p_upto.
    if skipped + cardinality(fresh) = cardinality(p_candidates) then place := p_upto;
    elsif fresh <> '{}' then place := fresh[cardinality(fresh)];
    end if;
  end if;

  positions := retries || fresh;
  attempts := coalesce(tries, '{}') || array_fill(1, array[cardinality(fresh)]);
  available := cardinality(positions);
  retry_count := cardinality(retries);
  -- What was put back after a reset may lie behind what comes by itself; a batch ascends.
  if retry_count > 0 and retries[retry_count] > fresh[1] then
    select array_agg(u.position order by u.position), array_agg(u.attempt order by u.position) into positions, attempts
      from unnest(positions, attempts) u(position, attempt);
    retry_count := available;
  end if;
  claimants := '{}';
  counts := '{}';
  deadlines_ms := '{}';
  if available > 0 then
    -- A lease that a crash of the database forgets is handed out anew, and its tokens are stale: no need to wait for the
    -- disk. What is given away for good must have left the ledger before it is sent.
    if not (false = any(p_leased)) then perform set_config('synchronous_commit', 'off', true); end if;
    -- Equal shares, as far as they are wanted; what is left goes to whoever wants more.
    select ceil(available::float / count(*)) into fair from unnest(wants) w where w > 0;
    select available - sum(least(w, fair)) into left_over from unnest(wants) w where w > 0;
    for i in 1 .. cardinality(wants) loop
      share := least(wants[i], fair);
      extra := greatest(0, least(wants[i] - share, left_over));
      left_over := left_over - extra;
      share := least(share + extra, available - at);
      continue when share = 0;
      claimants := claimants || i;
      counts := counts || share;
      firsts := firsts || at + 1;
      deadlines_ms := deadlines_ms || (extract(epoch from now_at) * 1000)::bigint + p_timeouts_ms[i];
      at := at + share;
    end loop;
    insert into deliveries (cursor_id, step, part, state, consumer, due, positions, retried)
      select p_cursor, delivery_claim.step, u.n - 1, 'leased', p_consumers[u.claimant],
             now_at + p_timeouts_ms[u.claimant] * interval '1 millisecond', positions[u.first : u.first + u.count - 1],
             u.first <= retry_count
      from unnest(claimants, counts, firsts) with ordinality u(claimant, count, first, n)
      where p_leased[u.claimant];
    if keeps_receipts then
      perform receipt_deliver(p_cursor, positions[u.first : u.first + u.count - 1])
        from unnest(claimants, counts, firsts) u(claimant, count, first) where not p_leased[u.claimant];
    elsif retries <> '{}' and false = any(p_leased) then
      delete from delivery_failures f using unnest(claimants, counts, firsts) u(claimant, count, first)
        where not p_leased[u.claimant] and f.cursor_id = p_cursor and f.position = any(positions[u.first : u.first + u.count - 1]);
    end if;
  end if;
  if available > 0 or place <> old_place then
    insert into cursor_steps (cursor_id, step, position) values (p_cursor, delivery_claim.step, place);
    if keeps_receipts then
      delete from early_reads e where e.cursor_id = p_cursor and e.position <= delivery_claim.place;
    end if;
  end if;
  if p_look then
    select array_agg(coalesce((select d.step from deliveries d
                               where d.cursor_id = p_cursor and d.consumer = c.name and d.consumer > '' and d.step >= p_first_steps[c.n]
                               order by d.step limit 1), delivery_claim.step) order by c.n)
      into first_steps from unnest(p_consumers) with ordinality c(name, n);
    select case when is_rest then '-infinity' else min(d.due) end into first_due from deliveries d
      where d.cursor_id = p_cursor and d.due > '-infinity' and d.due >= p_first_due;
  end if;
end $function$;

CREATE OR REPLACE FUNCTION delivery_claim_group(p_cursor bigint, p_revision bigint, p_after bigint, p_upto bigint, p_candidates bigint[], p_keys bigint[], p_consumers text[], p_wants integer[], p_timeouts_ms bigint[], p_leased boolean[], p_max_in_flight integer, p_window integer, p_owners text[], p_waiting integer[], p_added integer, p_look boolean, p_first_steps bigint[], p_first_due timestamp with time zone, OUT status text, OUT step bigint, OUT place bigint, OUT now_at timestamp with time zone, OUT claimants integer[], OUT counts integer[], OUT positions bigint[], OUT attempts integer[], OUT deadlines_ms bigint[], OUT first_steps bigint[], OUT first_due timestamp with time zone, OUT others boolean, OUT added integer, OUT owners text[], OUT waiting integer[], OUT stopped_by text, OUT stopped_at bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  old_place bigint;
  is_rest boolean;
  -- How many slots have moved.
  drained int;
  slot_count int;
  wants int[];
  -- By slot: who asks for what is in it, 0 where nobody does. Found by index, not by a join, for which every event would
  -- be compared with every slot.
  askers int[];
  -- And which member's it is, 0 where it drains or is nobody's.
  member_of int[];
  members text[];
  -- How many may still come to wait for each member; null: for each as many as there are candidates.
  rooms int[];
  -- What has waited and is taken now.
  waiters int[];
  waiter int;
  ready record;
  old record;
  blocked bigint[];
  blocked_from bigint[];
  paused bigint[];
  skipped int;
  last_n int;
  fresh record;
  any_failed boolean;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if p_look and found then select e.is_rest into is_rest from delivery_expire(p_cursor, p_first_due) e; end if;
  now_at := clock_timestamp();
  select case when sub.revision <> p_revision then 'changed' when sub.completed_at is not null then 'completed'
              when sub.paused then 'paused' else 'ok' end, sub.slots
    into status, slot_count
    from subscription_cursors c join subscriptions sub on sub.id = c.subscription_id where c.id = p_cursor;
  if not found then status := 'gone'; end if;
  if status <> 'ok' then return; end if;
  drained := (select count(*) from group_slots g where g.cursor_id = p_cursor and g.next_owner is not null);
  if drained > 0 then
    is_rest := group_hand_over(p_cursor, slot_count) or is_rest;
    drained := drained - (select count(*) from group_slots g where g.cursor_id = p_cursor and g.next_owner is not null);
    -- What has waited for these slots, or was taken back, is due now.
    now_at := clock_timestamp();
  end if;
  select n.step, n.place into step, place from cursor_next(p_cursor, now_at) n;
  old_place := place;
  others := drained > 0;
  added := 0;

  -- The claims of one member count as one: the first of them gets what there is.
  select array_agg(case when u.n = u.first then greatest(0, least(u.want, p_max_in_flight - u.held)) else 0 end::int order by u.n)
    into wants
    from (
      select w.n, min(w.n) over (partition by w.consumer) as first, p_wants[w.n] as want,
             coalesce((select sum(cardinality(d.positions)) from deliveries d
                       where d.cursor_id = p_cursor and d.consumer = w.consumer and d.consumer > '' and d.step >= w.first_step), 0) as held
      from unnest(p_consumers, p_first_steps) with ordinality w(consumer, first_step, n)
    ) u;
  select array_agg(coalesce(o.n, 0) order by g.slot), array_agg(case when g.owner is null then 0 else g.member end order by g.slot),
         array_agg(distinct g.owner order by g.owner) filter (where g.owner is not null)
    into askers, member_of, members
    from (
      select s.slot, g.owner, dense_rank() over (order by g.owner)::int as member
      from generate_series(0, slot_count - 1) s(slot)
      left join group_slots g on g.cursor_id = p_cursor and g.slot = s.slot and g.next_owner is null
    ) g
    left join lateral (
      select min(w.n)::int as n from unnest(p_consumers, wants) with ordinality w(consumer, want, n)
      where w.consumer = g.owner and w.want > 0
    ) o on true;
  paused := array(select distinct k.key from paused_keys k where k.cursor_id = p_cursor order by k.key);

  -- What waits for them, oldest first. Behind an event that is not due yet its key has to wait.
  waiters := array(
    select w.n::int from unnest(p_consumers, wants) with ordinality w(consumer, want, n)
    where w.want > 0 and exists (select from deliveries d where d.cursor_id = p_cursor and d.owner = w.consumer and d.owner >= ''));
  select '{}'::int[] as claimants, '{}'::bigint[] as positions, '{}'::bigint[] as keys,
         '{}'::bigint[] as steps, '{}'::smallint[] as parts, '{}'::smallint[] as pieces into old;
  if waiters <> '{}' then
    select array_agg(l.key order by l.key), array_agg(l.position order by l.key) into blocked, blocked_from
      from (
        select u.key, min(u.position) as position
        from unnest(waiters) w(n)
          join deliveries d on d.cursor_id = p_cursor and d.owner = p_consumers[w.n] and d.owner >= '' and d.due > now_at
          cross join lateral unnest(d.keys, d.positions) u(key, position)
        group by u.key
      ) l;
    foreach waiter in array waiters loop
      select * into ready
        from group_ready(p_cursor, p_consumers[waiter], askers, waiter, now_at, blocked, blocked_from, wants[waiter]) r;
      continue when ready.positions is null;
      old.claimants := old.claimants || array_fill(waiter, array[cardinality(ready.positions)]);
      old.positions := old.positions || ready.positions;
      old.keys := old.keys || ready.keys;
      old.steps := old.steps || ready.steps;
      old.parts := old.parts || ready.parts;
      old.pieces := old.pieces || ready.pieces;
    end loop;
  end if;
  blocked := coalesce(blocked, '{}');
  if old.positions <> '{}' then
    with taken as materialized (
      select p_cursor as cursor_id, u.step, u.part, u.piece, array_agg(u.position) as positions, count(*)::int as count
      from unnest(old.steps, old.parts, old.pieces, old.positions) u(step, part, piece, position) group by 2, 3, 4
    ), emptied as (
      delete from deliveries d using taken t
        where d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece and cardinality(d.positions) = t.count
    )
    update deliveries d set (positions, keys) = (
        -- Mostly the first ones are taken.
        select d.positions[t.count + 1 :], d.keys[t.count + 1 :] where d.positions[: t.count] = t.positions
        union all
        select array_agg(u.position order by u.n), array_agg(u.key order by u.n)
          from unnest(d.positions, d.keys) with ordinality u(position, key, n)
          where u.position <> all(t.positions) and d.positions[: t.count] <> t.positions
          having count(*) > 0
      )
      from taken t
      where d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece and cardinality(d.positions) > t.count;
    select array_agg(w.want - coalesce(t.count, 0)::int order by w.n) into wants
      from unnest(wants) with ordinality w(want, n)
      left join (select c.claimant, count(*) as count from unnest(old.claimants) c(claimant) group by 1) t on t.claimant = w.n;
  end if;

  if p_look then
    select array_agg(o.owner), array_agg(o.count) into owners, waiting
      from (
        select d.owner, sum(cardinality(d.positions))::int as count from deliveries d
        where d.cursor_id = p_cursor and d.owner > '' group by d.owner
      ) o;
    owners := coalesce(owners, '{}');
    waiting := coalesce(waiting, '{}');
    p_owners := owners;
    p_waiting := waiting;
    p_added := 0;
  end if;
  -- Mostly all of the candidates may wait for anybody.
  if p_window / coalesce(cardinality(members), 1) - coalesce((select max(w.count) from unnest(p_waiting) w(count)), 0) - p_added
     < cardinality(p_candidates) then
    select array_agg(p_window / cardinality(members) - coalesce(w.count, 0) - p_added order by m.n) into rooms
      from unnest(members) with ordinality m(name, n) left join unnest(p_owners, p_waiting) w(owner, count) on w.owner = m.name;
  end if;

  select null::int as n, null::int as stopped_by, null::int[] as claimants, null::bigint[] as positions, null::bigint[] as keys,
         null::bigint[] as waits, null::bigint[] as waits_keys into fresh;
  if place >= p_after and place < p_upto and 0 < any(wants) then
    select count(*) into skipped from unnest(p_candidates) c where c <= old_place;
    with candidates as (
      select u.position, u.key, u.n, member_of[u.key % slot_count + 1] as member,
             case when blocked[width_bucket(u.key, blocked)] is distinct from u.key and paused[width_bucket(u.key, paused)] is distinct from u.key
                  then nullif(askers[u.key % slot_count + 1], 0) end as claimant
      from unnest(p_candidates[skipped + 1 :], p_keys[skipped + 1 :]) with ordinality u(position, key, n)
    ), ranked as (
      select c.*, c.claimant is not null and row_number() over (partition by c.claimant order by c.n) <= wants[c.claimant] as given
      from candidates c
    ), bounded as (
      -- Of paused keys any number is parked: they do not fill the room of others.
      select r.*, not r.given and paused[width_bucket(r.key, paused)] is distinct from r.key
               and count(*) filter (where not r.given and paused[width_bucket(r.key, paused)] is distinct from r.key) over (partition by r.member order by r.n) > rooms[r.member] as stops
      from ranked r order by r.n
    ), filled as (
      select r.claimant, count(*) as count, max(r.n) as last from ranked r where r.given group by r.claimant
    ), ends as (
      -- Nobody who asks needs more than this, or nobody is left out.
      select case when bool_and(coalesce(f.count, 0) >= w.want) then max(f.last) else coalesce((select max(b.n) from bounded b), 0) end as n
      from unnest(wants) with ordinality w(want, n) left join filled f on f.claimant = w.n where w.want > 0
    ), stop as (
      select b.n, b.member from bounded b, ends e where b.stops and b.n <= e.n order by b.n limit 1
    ), reached as (
      select coalesce((select s.n - 1 from stop s), e.n) as n from ends e
    )
    select (select n from reached) as n, (select s.member from stop s) as stopped_by,
           array_agg(b.claimant) filter (where b.given) as claimants,
           array_agg(b.position) filter (where b.given) as positions,
           array_agg(b.key) filter (where b.given) as keys,
           array_agg(b.position) filter (where not b.given) as waits,
           array_agg(b.key) filter (where not b.given) as waits_keys
      into fresh from bounded b where b.n <= (select n from reached);
    last_n := coalesce(fresh.n, 0);
    if skipped + last_n >= cardinality(p_candidates) then place := p_upto;
    elsif last_n > 0 then place := p_candidates[skipped + last_n];
    end if;
  end if;

  claimants := '{}';
  counts := '{}';
  positions := '{}';
  attempts := '{}';
  deadlines_ms := '{}';
  if old.positions <> '{}' or fresh.positions is not null then
    if not (false = any(p_leased)) then perform set_config('synchronous_commit', 'off', true); end if;
    any_failed := exists (select from delivery_failures f where f.cursor_id = p_cursor);
    -- What is aggregated comes from sorted subqueries: a sort for every array took as long as all the rest.
    with taken as (
      select u.claimant, u.position, u.key, true as waited from unnest(old.claimants, old.positions, old.keys) u(claimant, position, key)
      union all
      select u.claimant, u.position, u.key, false from unnest(fresh.claimants, fresh.positions, fresh.keys) u(claimant, position, key)
    ), counted as (
      select t.*, case when t.waited and any_failed
                       then coalesce((select f.attempts from delivery_failures f where f.cursor_id = p_cursor and f.position = t.position), 0)
                       else 0 end + 1 as attempt
      from taken t order by t.claimant, t.position
    ), portions as (
      select c.claimant, row_number() over (order by c.claimant) as n, count(*)::int as count, max(c.attempt) > 1 as retried,
             array_agg(c.position) as positions, array_agg(c.key) as keys
      from counted c group by c.claimant
    ), leases as (
      insert into deliveries (cursor_id, step, part, state, consumer, due, positions, keys, retried)
        select p_cursor, delivery_claim_group.step, p.n - 1, 'leased', p_consumers[p.claimant],
               now_at + p_timeouts_ms[p.claimant] * interval '1 millisecond', p.positions, p.keys, p.retried
        from portions p where p_leased[p.claimant]
    ), forgotten as (
      delete from delivery_failures f using portions p
        where p.retried and not p_leased[p.claimant] and f.cursor_id = p_cursor and f.position = any(p.positions)
    )
    select array_agg(p.claimant order by p.n), array_agg(p.count order by p.n),
           array_agg((extract(epoch from now_at) * 1000)::bigint + p_timeouts_ms[p.claimant] order by p.n),
           (select array_agg(c.position) from counted c), (select array_agg(c.attempt) from counted c)
      into claimants, counts, deadlines_ms, positions, attempts from portions p;
  end if;
  if cardinality(positions) > 0 or place <> old_place then
    insert into cursor_steps (cursor_id, step, position) values (p_cursor, delivery_claim_group.step, place);
  end if;
  if fresh.waits is not null then
    perform delivery_wait(p_cursor, fresh.waits, fresh.waits_keys, now_at);
    others := true;
    added := cardinality(fresh.waits);
  end if;
  if fresh.stopped_by is not null then
    stopped_by := members[fresh.stopped_by];
    select coalesce(array_agg(l.key order by l.key), '{}'), array_agg(l.position order by l.key) into blocked, blocked_from
      from (
        select u.key, min(u.position) as position
        from deliveries d cross join lateral unnest(d.keys, d.positions) u(key, position)
        where d.cursor_id = p_cursor and d.owner = stopped_by and d.owner >= '' and d.due > now_at
        group by u.key
      ) l;
    select r.positions[1] into stopped_at
      from group_ready(p_cursor, stopped_by, member_of, fresh.stopped_by, now_at, blocked, blocked_from, 1) r;
  end if;
  if p_look then
    select array_agg(coalesce((select d.step from deliveries d
                               where d.cursor_id = p_cursor and d.consumer = c.name and d.consumer > '' and d.step >= p_first_steps[c.n]
                               order by d.step limit 1), delivery_claim_group.step) order by c.n)
      into first_steps from unnest(p_consumers) with ordinality c(name, n);
    select case when is_rest then '-infinity' else min(d.due) end into first_due from deliveries d
      where d.cursor_id = p_cursor and d.due > '-infinity' and d.due >= p_first_due and d.due < 'infinity'
        and (d.state = 'leased' or d.due > now_at);
  end if;
end $function$;

CREATE OR REPLACE FUNCTION delivery_expire(p_cursor bigint, p_first_due timestamp with time zone, OUT taken integer, OUT is_rest boolean)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  now_at timestamptz;
  overdue record;
begin
  taken := 0;
  is_rest := false;
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  now_at := clock_timestamp();
  select array_agg(o.step order by o.step, o.part, o.piece) as steps, array_agg(o.part order by o.step, o.part, o.piece) as parts,
         array_agg(o.piece order by o.step, o.part, o.piece) as pieces
    into overdue
    from (
      select d.step, d.part, d.piece from deliveries d
      where d.cursor_id = p_cursor and d.due > '-infinity' and d.due >= p_first_due and d.due <= now_at and d.state = 'leased'
      order by d.due limit 500
    ) o;
  if overdue.steps is null then return; end if;
  taken := delivery_take_back(p_cursor, overdue.steps, overdue.parts, overdue.pieces, 'not settled in time');
  -- For whoever counts: the process that called, in whatever function.
  if taken > 0 then raise notice using errcode = 'SL001', message = 'leases ran out', detail = taken; end if;
  is_rest := exists (
    select from deliveries d
    where d.cursor_id = p_cursor and d.due > '-infinity' and d.due >= p_first_due and d.due <= now_at and d.state = 'leased');
end $function$;

CREATE OR REPLACE FUNCTION delivery_extend(p_cursors bigint[], p_steps bigint[], p_parts smallint[], p_consumers text[], p_firsts integer[], p_counts integer[], p_positions bigint[], p_extension_ms bigint, OUT results smallint[], OUT deadline timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  g record;
  held record;
  given bigint[];
  here record;
  extended bigint[];
  others bigint[];
begin
  -- Or what is overdue by the time somebody looks, but not by the time of this, would be taken back though it is extended.
  perform from subscription_cursors c where c.id = any(p_cursors) order by c.id for no key update;
  results := array_fill(2::smallint, array[cardinality(p_positions)]);
  deadline := clock_timestamp() + p_extension_ms * interval '1 millisecond';
  for g in
    select u.* from unnest(p_cursors, p_steps, p_parts, p_consumers, p_firsts, p_counts) u(cursor_id, step, part, consumer, first, count)
    order by u.cursor_id, u.step, u.part
  loop
    given := p_positions[g.first : g.first + g.count - 1];
    extended := '{}';
    for held in
      select d.* from deliveries d
      where d.step = g.step and d.cursor_id = g.cursor_id and d.part = g.part and d.due > clock_timestamp()
        and (g.consumer is null or d.consumer = g.consumer)
      order by d.piece for update
    loop
      select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into here
        from unnest(held.positions, held.keys) u(position, key) where u.position = any(given);
      continue when here.positions is null;
      extended := extended || here.positions;
      if cardinality(here.positions) = cardinality(held.positions) then
        update deliveries d set due = deadline
          where d.step = g.step and d.cursor_id = g.cursor_id and d.part = g.part and d.piece = held.piece;
      else
        perform delivery_take_out(g.step, g.cursor_id, g.part, held.piece, here.positions);
        insert into deliveries (cursor_id, step, part, piece, state, consumer, due, positions, keys, retried)
          select g.cursor_id, g.step, g.part, max(d.piece) + 1, 'leased', held.consumer, deadline, here.positions,
                 case when held.keys is not null then here.keys end, held.retried
          from deliveries d where d.step = g.step and d.cursor_id = g.cursor_id and d.part = g.part;
      end if;
    end loop;
    results[g.first : g.first + g.count - 1] := array_fill(0::smallint, array[g.count]);
    -- Of the others, whether they are settled or the token is stale.
    if cardinality(extended) < g.count then
      others := array(select u.position from unnest(given) u(position) where u.position <> all(extended));
      results[g.first : g.first + g.count - 1] := (
        select array_agg(coalesce(o.standing, 0::smallint) order by u.n)
        from unnest(given) with ordinality u(position, n)
        left join unnest(others, delivery_standing(g.cursor_id, g.step, g.part, others)) o(position, standing) on o.position = u.position);
    end if;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION delivery_fail(p_cursor bigint, p_consumer text, p_positions bigint[], p_keys bigint[], p_error text, p_delay_ms bigint, p_dead boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  s subscriptions;
  now_at constant timestamptz := clock_timestamp();
  dead bigint[];
  letters int;
  marked bigint[];
  again record;
begin
  if not p_dead then
    marked := processed_settle(p_cursor, p_positions);
    if marked <> '{}' then
      select array_agg(u.position order by u.position), case when p_keys is not null then array_agg(u.key order by u.position) end
        into p_positions, p_keys from unnest(p_positions, p_keys) u(position, key) where u.position <> all(marked);
      if p_positions is null then return; end if;
    end if;
  end if;
  select sub.* into s from subscriptions sub join subscription_cursors c on c.subscription_id = sub.id where c.id = p_cursor;
  insert into delivery_failures as f (cursor_id, position, attempts, first_error, first_at, last_error, last_at)
    select p_cursor, u.position, 1, p_error, now_at, p_error, now_at from unnest(p_positions) u(position)
    on conflict (cursor_id, position) do update
      set attempts = f.attempts + 1, last_error = excluded.last_error, last_at = excluded.last_at;

  with given_up as (
    delete from delivery_failures f
      where f.cursor_id = p_cursor and f.position = any(p_positions) and (p_dead or f.attempts >= s.max_attempts)
      returning f.*
  ), kept as (
    insert into dead_letters (
        subscription_id, cursor_id, consumer, position, stream, "offset", event_id, type, recorded_at, schema_version,
        correlation_id, partition_key, attributes, data, data_binary,
        reason, attempts, first_error, first_at, last_error, last_at, dead_at)
      select s.id, p_cursor, p_consumer, g.position, e.stream, e."offset", e.event_id, e.type, e.recorded_at, e.schema_version,
             e.correlation_id, e.partition_key, e.attributes, e.data, e.data_binary,
             case when p_dead then 'rejected' else 'max-attempts' end, g.attempts, g.first_error, g.first_at, g.last_error, g.last_at, now_at
      from given_up g cross join lateral (
        select st.name as stream, ev."offset", ev.id as event_id, ev.type, ev.recorded_at, ev.schema_version,
               ev.correlation_id, ev.partition_key, ev.attributes, ev.data, ev.data_binary
        from events ev join streams st on st.id = ev.stream_id
        where ev.position = g.position and ev."offset" >= st.first_offset
        union all
        select r.stream, r."offset", r.event_id, r.type, r.recorded_at, r.schema_version,
               r.correlation_id, r.partition_key, r.attributes, r.data, r.data_binary
        from replayed_letters r where r.position = g.position and r.cursor_id = p_cursor
        limit 1
      ) e
      on conflict (cursor_id, position) do update
        set consumer = excluded.consumer, reason = excluded.reason, attempts = excluded.attempts,
            first_error = excluded.first_error, first_at = excluded.first_at,
            last_error = excluded.last_error, last_at = excluded.last_at, dead_at = excluded.dead_at
      returning position
  )
  select array_agg(g.position), (select count(*) from kept) into dead, letters from given_up g;
  if letters > 0 then raise notice using errcode = 'SL002', message = 'events became dead letters', detail = letters; end if;
  delete from replayed_letters r where r.position = any(dead) and r.cursor_id = p_cursor;

  if p_keys is not null then
    perform group_revoke(p_cursor, p_positions, p_keys, case when s.on_failure = 'pause' then dead end);
  end if;

  for again in
    select f.attempts, array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys
      from unnest(p_positions, p_keys) u(position, key)
      join delivery_failures f on f.cursor_id = p_cursor and f.position = u.position
      group by f.attempts
  loop
    perform delivery_wait(p_cursor, again.positions, case when p_keys is not null then again.keys end,
      now_at + coalesce(p_delay_ms, least(s.backoff_max_ms, s.backoff_initial_ms * power(s.backoff_factor, again.attempts - 1))) * interval '1 millisecond');
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION delivery_is_open(p_cursor bigint, p_position bigint)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
  select exists (select from deliveries d where d.cursor_id = p_cursor and d.positions[1] > -1
                   and d.positions[1] <= p_position and d.positions[cardinality(d.positions)] >= p_position
                   and p_position = any(d.positions))
      or exists (select from receipts r where r.cursor_id = p_cursor and r.positions[1] > -1
                   and r.positions[1] <= p_position and r.positions[cardinality(r.positions)] >= p_position
                   and p_position = any(r.positions))
$function$;

CREATE OR REPLACE FUNCTION delivery_put_back(p_cursor bigint, p_steps bigint[], p_parts smallint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  held record;
  back bigint[] := '{}';
  back_keys bigint[] := '{}';
  keyed boolean := false;
  marked bigint[];
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  for held in
    with leases as materialized (select p_cursor as cursor_id, u.* from unnest(p_steps, p_parts) u(step, part))
    delete from deliveries d using leases u
      where d.step = u.step and d.cursor_id = u.cursor_id and d.part = u.part and d.state = 'leased'
      returning d.step, d.part, d.positions, d.keys
  loop
    perform delivery_revoke(p_cursor, held.step, held.part, held.positions);
    keyed := keyed or held.keys is not null;
    back := back || held.positions;
    back_keys := back_keys || coalesce(held.keys, array_fill(null::bigint, array[cardinality(held.positions)]));
  end loop;
  marked := processed_settle(p_cursor, back);
  -- All at once, so that those of a key come again in its order, whichever leases they were in.
  select array_agg(u.position order by u.position), array_agg(u.key order by u.position) into back, back_keys
    from unnest(back, back_keys) u(position, key) where u.position <> all(marked);
  if back is null then return; end if;
  if keyed then perform group_revoke(p_cursor, back, back_keys, null); end if;
  perform delivery_wait(p_cursor, back, case when keyed then back_keys end, clock_timestamp());
end $function$;

CREATE OR REPLACE FUNCTION delivery_put_back_held(p_cursor bigint, p_consumer text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  perform delivery_put_back(p_cursor, array_agg(h.step), array_agg(h.part))
    from (select distinct d.step, d.part from deliveries d
          where d.cursor_id = p_cursor and d.consumer = p_consumer and d.consumer > '' and d.state = 'leased'
            and d.due > clock_timestamp()) h
    having count(*) > 0;
end $function$;

CREATE OR REPLACE FUNCTION delivery_put_back_some(p_cursor bigint, p_step bigint, p_parts smallint[], p_leased boolean[], p_counts integer[], p_positions bigint[], p_keys bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  at int := 1;
  given bigint[];
  rest bigint[];
  rest_keys bigint[];
  held record;
  here record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  for n in 1 .. cardinality(p_parts) loop
    given := p_positions[at : at + p_counts[n] - 1];
    if p_leased[n] then
      rest := '{}';
      rest_keys := '{}';
      for held in
        select d.piece, d.positions, d.keys from deliveries d
        where d.step = p_step and d.cursor_id = p_cursor and d.part = p_parts[n] and d.state = 'leased' order by d.piece for update
      loop
        select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into here
          from unnest(held.positions, held.keys) u(position, key) where u.position = any(given);
        continue when here.positions is null;
        perform delivery_take_out(p_step, p_cursor, p_parts[n], held.piece, here.positions);
        rest := rest || here.positions;
        rest_keys := case when held.keys is not null then rest_keys || here.keys end;
      end loop;
    else
      rest := given;
      rest_keys := p_keys[at : at + p_counts[n] - 1];
      if cursor_keeps_receipts(p_cursor) then
        -- They are not delivered after all. What was read meanwhile is.
        rest := '{}';
        for held in
          select r.id, r.positions from receipts r
          where r.cursor_id = p_cursor and r.positions[1] > -1 and r.positions[1] <= given[cardinality(given)] and r.positions && given
          order by r.id for update
        loop
          select array_agg(u.position order by u.position) filter (where u.position = any(given)) as positions,
                 array_agg(u.position order by u.position) filter (where u.position <> all(given)) as others
            into here from unnest(held.positions) u(position);
          rest := rest || here.positions;
          if here.others is null then delete from receipts r where r.id = held.id;
          else update receipts r set positions = here.others where r.id = held.id;
          end if;
        end loop;
        rest := array(select u.position from unnest(rest) u(position) order by u.position);
      end if;
    end if;
    at := at + p_counts[n];
    continue when rest = '{}';
    if rest_keys is not null then perform group_revoke(p_cursor, rest, rest_keys, null); end if;
    perform delivery_wait(p_cursor, rest, rest_keys, clock_timestamp());
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION delivery_release(p_cursor bigint, p_consumers text[], p_steps bigint[], p_parts smallint[], p_error text)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  held record;
  taken int;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return 0; end if;
  -- Queries of their own: one for both ways could use no index of either.
  if p_steps is null then
    select array_agg(o.step) as steps, array_agg(o.part) as parts, array_agg(o.piece) as pieces into held
      from (
        select d.step, d.part, d.piece from deliveries d
        where d.cursor_id = p_cursor and d.consumer = any(p_consumers) and d.consumer > ''
        order by d.step, d.part, d.piece limit 500
      ) o;
  else
    -- Many of them may be settled.
    with listed as materialized (
      select p_cursor as cursor_id, u.* from unnest(p_steps, p_parts) u(step, part)
    )
    select array_agg(o.step) as steps, array_agg(o.part) as parts, array_agg(o.piece) as pieces into held
      from (
        select d.step, d.part, d.piece
        from listed l join deliveries d on d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part
        where d.state = 'leased' order by d.step, d.part, d.piece limit 500
      ) o;
  end if;
  if held.steps is null then return 0; end if;
  taken := delivery_take_back(p_cursor, held.steps, held.parts, held.pieces, p_error);
  if p_steps is null then
    update deliveries d set due = clock_timestamp()
      where d.cursor_id = p_cursor and d.consumer = any(p_consumers) and d.consumer > '' and d.due > clock_timestamp();
  else
    with listed as materialized (
      select p_cursor as cursor_id, u.* from unnest(p_steps, p_parts) u(step, part)
    )
    update deliveries d set due = clock_timestamp() from listed l
      where d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part and d.state = 'leased' and d.due > clock_timestamp();
  end if;
  return taken;
end $function$;

CREATE OR REPLACE FUNCTION delivery_return(p_cursor bigint, p_steps bigint[], p_parts smallint[], p_consumers text[], p_firsts integer[], p_counts integer[], p_positions bigint[], p_action text, p_delay_ms bigint, p_reason text)
 RETURNS smallint[]
 LANGUAGE plpgsql
AS $function$
declare
  results smallint[] := array_fill(2::smallint, array[cardinality(p_positions)]);
  lease record;
  given bigint[];
  outcome smallint[];
  here record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return results; end if;
  for g in 1 .. cardinality(p_steps) loop
    given := p_positions[p_firsts[g] : p_firsts[g] + p_counts[g] - 1];
    select min(d.consumer) as consumer, array_agg(u.position) as positions, array_agg(u.key) as keys, bool_or(d.keys is not null) as keyed
      into lease
      from deliveries d cross join lateral unnest(d.positions, d.keys) u(position, key)
      where d.step = p_steps[g] and d.cursor_id = p_cursor and d.part = p_parts[g];
    outcome := delivery_settle_some(p_cursor, p_steps[g], p_parts[g], p_consumers[g], given, p_action = 'drop');
    results[p_firsts[g] : p_firsts[g] + p_counts[g] - 1] := outcome;
    continue when p_action = 'drop';
    select array_agg(u.position order by u.position) as positions, array_agg(l.key order by u.position) as keys into here
      from unnest(given, outcome) u(position, result) join unnest(lease.positions, lease.keys) l(position, key) on l.position = u.position
      where u.result = 0;
    continue when here.positions is null;
    perform delivery_revoke(p_cursor, p_steps[g], p_parts[g], here.positions);
    perform delivery_fail(p_cursor, lease.consumer, here.positions, case when lease.keyed then here.keys end, p_reason, p_delay_ms, p_action = 'dead-letter');
  end loop;
  return results;
end $function$;

CREATE OR REPLACE FUNCTION delivery_revoke(p_cursor bigint, p_step bigint, p_part smallint, p_positions bigint[])
 RETURNS void
 LANGUAGE sql
AS $function$
  insert into revoked_deliveries as r (cursor_id, step, part, positions, revoked_at)
    values (p_cursor, p_step, p_part, p_positions, clock_timestamp())
    on conflict (cursor_id, step, part) do update set positions = r.positions || excluded.positions, revoked_at = excluded.revoked_at
$function$;

CREATE OR REPLACE FUNCTION delivery_settle(p_cursors bigint[], p_steps bigint[], p_parts smallint[], p_consumers text[], p_firsts integer[], p_counts integer[], p_positions bigint[])
 RETURNS smallint[]
 LANGUAGE plpgsql
AS $function$
declare
  results smallint[] := array_fill(0::smallint, array[cardinality(p_positions)]);
  whole int[];
  again record;
  now_at constant timestamptz := clock_timestamp();
  keeps_receipts boolean;
  given bigint[];
  codes smallint[];
begin
  -- Most leases are settled as a whole.
  with gone as (
    delete from deliveries d
      using unnest(p_cursors, p_steps, p_parts, p_consumers, p_firsts, p_counts) with ordinality g(cursor_id, step, part, consumer, first, count, n)
      where d.step = g.step and d.cursor_id = g.cursor_id and d.part = g.part and d.due > clock_timestamp()
        and (g.consumer is null or d.consumer = g.consumer)
        and d.positions = p_positions[g.first : g.first + g.count - 1]
      returning g.n::int as n, d.cursor_id, d.positions, d.retried
  ), delivered as (
    insert into receipts (cursor_id, positions, delivered_at, due)
      select gone.cursor_id, gone.positions, now_at, now_at + s.unread_timeout_ms * interval '1 millisecond'
      from gone join subscription_cursors c on c.id = gone.cursor_id join subscriptions s on s.id = c.subscription_id
      where s.mode = 'read-receipt'
  ), forgotten as (
    delete from delivery_failures f using gone
      where gone.retried and f.cursor_id = gone.cursor_id and f.position = any(gone.positions)
        and not cursor_keeps_receipts(gone.cursor_id)
  )
  select array_agg(gone.n) into whole from gone;
  for again in
    select g.* from unnest(p_cursors, p_steps, p_parts, p_consumers, p_firsts, p_counts) with ordinality g(cursor_id, step, part, consumer, first, count, n)
    where whole is null or g.n <> all(whole)
    order by g.cursor_id, g.step, g.part
  loop
    given := p_positions[again.first : again.first + again.count - 1];
    keeps_receipts := coalesce(cursor_keeps_receipts(again.cursor_id), false);
    codes := delivery_settle_some(again.cursor_id, again.step, again.part, again.consumer, given, not keeps_receipts);
    results[again.first : again.first + again.count - 1] := codes;
    if keeps_receipts then
      perform receipt_deliver(again.cursor_id, array(
        select u.position from unnest(given, codes) u(position, code) where u.code = 0 order by u.position));
    end if;
  end loop;
  return results;
end $function$;

CREATE OR REPLACE FUNCTION delivery_settle_some(p_cursor bigint, p_step bigint, p_part smallint, p_consumer text, p_positions bigint[], p_settled boolean)
 RETURNS smallint[]
 LANGUAGE plpgsql
AS $function$
declare
  held record;
  settled bigint[] := '{}';
  here bigint[];
  others bigint[];
  results smallint[];
begin
  for held in
    select d.piece, d.positions, d.retried from deliveries d
    where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.due > clock_timestamp()
      and (p_consumer is null or d.consumer = p_consumer)
    order by d.piece for update
  loop
    select array_agg(u.position) into here from unnest(held.positions) u(position) where u.position = any(p_positions);
    continue when here is null;
    settled := settled || here;
    perform delivery_take_out(p_step, p_cursor, p_part, held.piece, here);
    if p_settled and held.retried then
      delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(here);
    end if;
  end loop;
  results := array_fill(0::smallint, array[cardinality(p_positions)]);
  -- Mostly all of them: what the others mean is looked up only then.
  if cardinality(settled) < cardinality(p_positions) then
    others := array(select u.position from unnest(p_positions) u(position) where u.position <> all(settled));
    select array_agg(coalesce(o.standing, 0::smallint) order by u.n) into results
      from unnest(p_positions) with ordinality u(position, n)
      left join unnest(others, delivery_standing(p_cursor, p_step, p_part, others)) o(position, standing) on o.position = u.position;
  end if;
  return results;
end $function$;

CREATE OR REPLACE FUNCTION delivery_standing(p_cursor bigint, p_step bigint, p_part smallint, p_positions bigint[])
 RETURNS smallint[]
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  place bigint;
  asked bigint[];
  lowest bigint;
  highest bigint;
  is_open bigint[] := '{}';
begin
  select s.position into place from cursor_steps s where s.cursor_id = p_cursor order by s.step desc limit 1;
  select array_agg(u.position), min(u.position), max(u.position) into asked, lowest, highest
    from unnest(p_positions) u(position)
    where u.position <= place and not exists (
      select from revoked_deliveries r
      where r.cursor_id = p_cursor and r.step = p_step and r.part = p_part and u.position = any(r.positions));
  -- By one pass over the batches that they may stand in: each by itself would cost as many.
  if asked is not null then
    is_open := array(
      select u.position from deliveries d cross join lateral unnest(d.positions) u(position)
      where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] <= highest and d.positions[cardinality(d.positions)] >= lowest
        -- In a case it is a probe of a hash table, whatever joins are allowed.
        and case when u.position in (select a.position from unnest(asked) a(position)) then true end);
  end if;
  return array(
    select case when u.position = any(asked) and u.position <> all(is_open) then 1 else 2 end::smallint
    from unnest(p_positions) with ordinality u(position, n) order by u.n);
end $function$;

CREATE OR REPLACE FUNCTION delivery_strength(p_delivery text)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select array_position(array['at-most-once', 'at-least-once', 'exactly-once'], p_delivery)
$function$;

CREATE OR REPLACE FUNCTION delivery_take_back(p_cursor bigint, p_steps bigint[], p_parts smallint[], p_pieces smallint[], p_error text)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  held record;
  taken int := 0;
begin
  for held in
    -- With the cursor in the list every batch is found by its whole key; by the parameter, all of the index would be read.
    with listed as materialized (
      select p_cursor as cursor_id, u.* from unnest(p_steps, p_parts, p_pieces) with ordinality u(step, part, piece, n)
    ), named as materialized (
      select l.*, coalesce(sum(cardinality(d.positions)) over (order by l.n rows between unbounded preceding and 1 preceding), 0) as before
      from listed l join deliveries d on d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part and d.piece = l.piece
    ), gone as (
      delete from deliveries d using named n
        where n.before < 1000 and d.step = n.step and d.cursor_id = n.cursor_id and d.part = n.part and d.piece = n.piece and d.state = 'leased'
        returning d.step, d.part, d.piece, d.consumer, d.positions, d.keys
    ), revoked as (
      insert into revoked_deliveries as r (cursor_id, step, part, positions, revoked_at)
        select p_cursor, g.step, g.part, array_agg(u.position), clock_timestamp()
        from gone g cross join lateral unnest(g.positions) u(position) group by g.step, g.part
        on conflict (cursor_id, step, part) do update set positions = r.positions || excluded.positions, revoked_at = excluded.revoked_at
    ), events as (
      select g.consumer, g.keys is not null as keyed, u.position, u.key,
             g.keys is null or dense_rank() over (partition by u.key order by g.step, g.part) = 1 as failed
      from gone g cross join lateral unnest(g.positions, g.keys) u(position, key)
    )
    select e.consumer, count(*)::int as count,
           array_agg(e.position order by e.position) filter (where e.failed) as positions,
           array_agg(e.key order by e.position) filter (where e.failed and e.keyed) as keys,
           array_agg(e.position order by e.position) filter (where not e.failed) as late,
           array_agg(e.key order by e.position) filter (where not e.failed) as late_keys
    from events e group by e.consumer order by e.consumer
  loop
    taken := taken + held.count;
    if held.positions is not null then
      perform delivery_fail(p_cursor, held.consumer, held.positions, held.keys, p_error, 0, false);
    end if;
    if held.late is not null then perform group_wait_behind(p_cursor, held.late, held.late_keys); end if;
  end loop;
  return taken;
end $function$;

CREATE OR REPLACE FUNCTION delivery_take_out(p_step bigint, p_cursor bigint, p_part smallint, p_piece smallint, p_positions bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  rest record;
begin
  select array_agg(u.position order by u.n) as positions, array_agg(u.key order by u.n) as keys, bool_or(d.keys is not null) as keyed
    into rest
    from deliveries d cross join lateral unnest(d.positions, d.keys) with ordinality u(position, key, n)
    where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.piece = p_piece
      -- A probe of a hash table for each event: with an array it is a comparison with all.
      and u.position not in (select t.position from unnest(p_positions) t(position));
  if rest.positions is null then
    delete from deliveries d where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.piece = p_piece;
  else
    update deliveries d set positions = rest.positions, keys = case when rest.keyed then rest.keys end
      where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.piece = p_piece;
  end if;
end $function$;

CREATE OR REPLACE FUNCTION delivery_wait(p_cursor bigint, p_positions bigint[], p_keys bigint[], p_due timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  next_step constant bigint := cursor_step(p_cursor);
  -- By slot.
  owners text[];
  paused bigint[];
begin
  if p_keys is null then
    insert into deliveries (cursor_id, step, part, state, due, positions) values (p_cursor, next_step, 0, 'ready', p_due, p_positions);
    return;
  end if;
  -- Found by index: with a join, every event would be looked up in both tables.
  select array_agg(coalesce(case when g.next_owner is null then g.owner end, '') order by n.slot) into owners
    from subscription_cursors c join subscriptions s on s.id = c.subscription_id
      cross join lateral generate_series(0, s.slots - 1) n(slot)
      left join group_slots g on g.cursor_id = p_cursor and g.slot = n.slot
    where c.id = p_cursor;
  paused := array(select distinct k.key from paused_keys k where k.cursor_id = p_cursor order by k.key);
  insert into deliveries (cursor_id, step, part, state, due, positions, keys, owner)
    select p_cursor, next_step, row_number() over () - 1, case when w.owner is null then 'parked' else 'ready' end,
           case when w.owner is null then 'infinity' else p_due end, w.positions, w.keys, w.owner
    from (
      select e.owner, array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys
      from unnest(p_positions, p_keys) u(position, key)
        cross join lateral (
          select case when paused[width_bucket(u.key, paused)] is distinct from u.key then owners[u.key % cardinality(owners) + 1] end as owner
        ) e
      -- Of a slot that drains apart, so that its batches need not be divided when it moves.
      group by e.owner, case when e.owner = '' then u.key % cardinality(owners) end
    ) w;
end $function$;

CREATE OR REPLACE FUNCTION duty_begin(p_name text, p_every interval)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  now constant timestamptz := clock_timestamp();
begin
  insert into duties (name, begun_at) values (p_name, '-infinity') on conflict (name) do nothing;
  -- A time far ahead of the clock is one from before the clock was set back; a little ahead is whoever came just before.
  update duties d set begun_at = now
    where d.name = p_name and (d.begun_at <= now - p_every or d.begun_at > now + p_every);
  return found;
end $function$;

CREATE OR REPLACE FUNCTION ephemeral_floor(p_stream_id bigint)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
  select min(coalesce(f.floor, s.start_position + 1))
  from streams st
  join subscription_streams t on t.stream = st.name
  join subscriptions s on s.id = t.subscription_id
  left join lateral (
    select min(cursor_floor(c.id)) as floor from subscription_cursors c where c.subscription_id = s.id
  ) f on true
  where st.id = p_stream_id
$function$;

CREATE OR REPLACE FUNCTION event_ids_forget(p_before timestamp with time zone, p_limit integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
  h record;
  below bigint;
  gone int;
begin
  if not pg_try_advisory_xact_lock(log_lock() + 3) then return null; end if;
  perform set_config('synchronous_commit', 'off', true);
  select * into h from event_id_horizons where trimmed_before < p_before order by trimmed_before, stream_id limit 1;
  if not found then return null; end if;
  select i."offset" into below from event_ids i
    where i.stream_id = h.stream_id and i."offset" >= 0 and i."offset" < h.below_offset
    order by i."offset" offset p_limit limit 1;
  below := coalesce(below, h.below_offset);
  delete from event_ids i where i.stream_id = h.stream_id and i."offset" >= 0 and i."offset" < below;
  get diagnostics gone = row_count;
  delete from event_id_horizons
    where trimmed_before = h.trimmed_before and stream_id = h.stream_id and below_offset <= below;
  return gone;
end $function$;

CREATE OR REPLACE FUNCTION event_is_there(p_position bigint)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
  select exists (
    select from events e join streams s on s.id = e.stream_id where e.position = p_position and e."offset" >= s.first_offset)
$function$;

CREATE OR REPLACE FUNCTION group_assign(p_cursor bigint, p_owner text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  next_step constant bigint := cursor_step(p_cursor);
  -- By slot: whose it is; of one that drains its number behind a slash, which is in no name.
  labels text[];
begin
  select array_agg(coalesce(case when g.next_owner is null then g.owner end, '/' || g.slot) order by g.slot) into labels
    from group_slots g where g.cursor_id = p_cursor;
  -- A batch whose events all go to one member only changes its owner. What waits for slots that drain may be very much: each of
  -- its batches is of one slot, so that nothing of it is rewritten when that moves.
  with waiting as materialized (
    select d.cursor_id, d.step, d.part, d.piece, d.owner, case when d.owner = '' then d.keys[1 : 1] else d.keys end as keys
    from deliveries d where d.cursor_id = p_cursor and d.owner >= '' and (p_owner is null or d.owner = p_owner)
  ), targets as materialized (
    select w.cursor_id, w.step, w.part, w.piece, t.labels, case when t.labels[1] like '/%' then '' else t.labels[1] end as owner
    from waiting w
      cross join lateral (select array_agg(distinct labels[u.key % cardinality(labels) + 1]) as labels from unnest(w.keys) u(key)) t
    where cardinality(t.labels) > 1 or w.owner <> case when t.labels[1] like '/%' then '' else t.labels[1] end
  ), given as (
    update deliveries d set owner = t.owner from targets t
      where cardinality(t.labels) = 1 and d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece
  ), divided as (
    delete from deliveries d using targets t
      where cardinality(t.labels) > 1 and d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece
      returning d.due, d.positions, d.keys
  ), events as (
    -- In batches of a size that can be rewritten when a few events of one are taken.
    select e.*, (row_number() over (partition by e.label, e.due order by e.position) - 1) / 1000 as batch
    from (
      select d.due, u.position, u.key, labels[u.key % cardinality(labels) + 1] as label
      from divided d cross join lateral unnest(d.positions, d.keys) u(position, key)
    ) e
  )
  insert into deliveries (cursor_id, step, part, piece, state, due, positions, keys, owner)
    select p_cursor, next_step, b.n % 32768, b.n / 32768, 'ready', b.due, b.positions, b.keys, case when b.label like '/%' then '' else b.label end
    from (
      select e.label, e.due, array_agg(e.position order by e.position) as positions, array_agg(e.key order by e.position) as keys,
             row_number() over () - 1 as n
      from events e group by e.label, e.due, e.batch
    ) b;
end $function$;

CREATE OR REPLACE FUNCTION group_enter(p_cursor bigint, p_positions bigint[], p_keys bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  for i in 1 .. coalesce(cardinality(p_positions), 0) by 1000 loop
    perform delivery_wait(p_cursor, p_positions[i : i + 999], p_keys[i : i + 999], clock_timestamp());
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION group_hand_over(p_cursor bigint, p_slots integer)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  overdue int[];
  leased int[];
  held record;
  late bigint[];
  late_keys bigint[];
  next_piece smallint;
  steps bigint[] := '{}';
  parts smallint[] := '{}';
  pieces smallint[] := '{}';
begin
  if not exists (select from group_slots g where g.cursor_id = p_cursor and g.next_owner is not null) then return false; end if;
  select array_agg(g.slot) into overdue from group_slots g
    where g.cursor_id = p_cursor and g.next_owner is not null and g.drain_deadline <= clock_timestamp();
  if overdue is not null then
    for held in
      select d.* from deliveries d
      where d.cursor_id = p_cursor and d.consumer > ''
        and exists (select from unnest(d.keys) u(key) where (u.key % p_slots)::int = any(overdue))
      order by d.step, d.part, d.piece limit 200 for update
    loop
      select array_agg(u.position order by u.position), array_agg(u.key order by u.position) into late, late_keys
        from unnest(held.positions, held.keys) u(position, key) where (u.key % p_slots)::int = any(overdue);
      next_piece := held.piece;
      -- What of the lease is of other slots stays where it is.
      if cardinality(late) < cardinality(held.positions) then
        select max(d.piece) + 1 into next_piece from deliveries d
          where d.step = held.step and d.cursor_id = p_cursor and d.part = held.part;
        perform delivery_take_out(held.step, p_cursor, held.part, held.piece, late);
        insert into deliveries (cursor_id, step, part, piece, state, consumer, due, positions, keys, retried)
          values (p_cursor, held.step, held.part, next_piece, 'leased', held.consumer, held.due, late, late_keys, held.retried);
      end if;
      steps := steps || held.step;
      parts := parts || held.part;
      pieces := pieces || next_piece;
    end loop;
    if steps <> '{}' then perform delivery_take_back(p_cursor, steps, parts, pieces, 'not settled before its slot moved'); end if;
  end if;
  leased := group_leased_slots(p_cursor, p_slots);
  update group_slots g set owner = g.next_owner, next_owner = null, drain_deadline = null, epoch = g.epoch + 1
    where g.cursor_id = p_cursor and g.next_owner is not null and g.slot <> all(leased);
  -- What has waited while they drained is the new owner's.
  if found then perform group_assign(p_cursor, ''); end if;
  return coalesce(overdue && leased, false);
end $function$;

CREATE OR REPLACE FUNCTION group_leased_slots(p_cursor bigint, p_slots integer)
 RETURNS integer[]
 LANGUAGE sql
 STABLE
AS $function$
  select coalesce(array_agg(distinct (k.key % p_slots)::int), '{}')
  from deliveries d cross join lateral unnest(d.keys) k(key)
  where d.cursor_id = p_cursor and d.consumer > ''
$function$;

CREATE OR REPLACE FUNCTION group_owes(p_cursor bigint, p_member text)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  now_at constant timestamptz := clock_timestamp();
  askers int[];
  blocked bigint[];
  blocked_from bigint[];
begin
  select array_agg(case when g.owner = p_member and g.next_owner is null then 1 else 0 end order by n.slot) into askers
    from subscription_cursors c join subscriptions s on s.id = c.subscription_id
      cross join lateral generate_series(0, s.slots - 1) n(slot)
      left join group_slots g on g.cursor_id = p_cursor and g.slot = n.slot
    where c.id = p_cursor;
  if askers is null then return false; end if;
  select array_agg(l.key order by l.key), array_agg(l.position order by l.key) into blocked, blocked_from
    from (
      select u.key, min(u.position) as position
      from deliveries d cross join lateral unnest(d.keys, d.positions) u(key, position)
      where d.cursor_id = p_cursor and d.owner = p_member and d.owner >= '' and d.due > now_at
      group by u.key
    ) l;
  return exists (
    select from group_ready(p_cursor, p_member, askers, 1, now_at, blocked, blocked_from, 1) r where r.positions is not null);
end $function$;

CREATE OR REPLACE FUNCTION group_ready(p_cursor bigint, p_member text, p_askers integer[], p_asker integer, p_now timestamp with time zone, p_blocked bigint[], p_blocked_from bigint[], p_want integer, OUT positions bigint[], OUT keys bigint[], OUT steps bigint[], OUT parts smallint[], OUT pieces smallint[])
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  slot_count constant int := cardinality(p_askers);
  batches int := 2;
  is_last boolean;
begin
  if p_asker <> all(p_askers) then return; end if;
  loop
    with batch as materialized (
      select d.step, d.part, d.piece, d.positions, d.keys, row_number() over (order by d.positions[1]) as n
      from deliveries d where d.cursor_id = p_cursor and d.owner = p_member and d.owner >= '' and d.due <= p_now
      order by d.positions[1] limit batches + 1
    ), next as materialized (
      select b.positions[1] as position from batch b where b.n = batches + 1
    ), ready as (
      select b.step, b.part, b.piece, u.position, u.key
      from batch b cross join lateral unnest(b.positions, b.keys) u(position, key)
      where b.n <= batches and u.position < coalesce((select n.position from next n), 9223372036854775807)
        and p_askers[u.key % slot_count + 1] = p_asker
        -- Found by bisection: it is done for all that waits, as long as little of it may go.
        and (p_blocked is null or p_blocked[width_bucket(u.key, p_blocked)] is distinct from u.key
             or u.position < p_blocked_from[width_bucket(u.key, p_blocked)])
      order by u.position limit p_want
    )
    select array_agg(r.position), array_agg(r.key), array_agg(r.step), array_agg(r.part), array_agg(r.piece), not exists (select from next)
      into positions, keys, steps, parts, pieces, is_last from ready r;
    exit when is_last or cardinality(positions) >= p_want;
    batches := batches * 4;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION group_rebalance(p_cursor bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  s subscriptions;
  members text[];
  leased int[];
  moved int[];
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  select sub.* into s from subscriptions sub join subscription_cursors c on c.subscription_id = sub.id where c.id = p_cursor;
  if not found or s.mode <> 'consumer-group' then return; end if;
  insert into group_slots (cursor_id, slot) select p_cursor, n from generate_series(0, s.slots - 1) n on conflict do nothing;
  delete from group_slots g where g.cursor_id = p_cursor and g.slot >= s.slots;
  select coalesce(array_agg(c.name order by c.name) filter (where c.set_aside is null), array_agg(c.name order by c.name)) into members
    from consumers c
    where c.subscription_id = s.id and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond';
  if members is null then return; end if;
  leased := group_leased_slots(p_cursor, s.slots);

  with held as (
    select g.slot, coalesce(g.next_owner, g.owner) as member,
           row_number() over (partition by coalesce(g.next_owner, g.owner) order by g.slot) as n
    from group_slots g where g.cursor_id = p_cursor
  ), quota as (
    -- Who has most keeps most, so that few slots move.
    select m.name, s.slots / cardinality(members)
           + (row_number() over (order by (select count(*) from held h where h.member = m.name) desc, m.name) <= s.slots % cardinality(members))::int as slots
    from unnest(members) m(name)
  ), kept as (
    select h.slot, h.member from held h join quota q on q.name = h.member and h.n <= q.slots
  ), free as (
    select h.slot, row_number() over (order by h.slot) as n from held h where h.slot not in (select k.slot from kept k)
  ), missing as (
    select q.name, row_number() over (order by q.name) as n
    from quota q cross join lateral generate_series(1, q.slots - (select count(*) from kept k where k.member = q.name)) g
  ), target as (
    select k.slot, k.member from kept k union all select f.slot, m.name from free f join missing m on m.n = f.n
  ), moves as (
    update group_slots g
      set owner = case when g.owner = t.member or g.owner is null or g.slot <> all(leased) then t.member else g.owner end,
          next_owner = case when g.owner = t.member or g.owner is null or g.slot <> all(leased) then null else t.member end,
          drain_deadline = case when g.owner = t.member or g.owner is null or g.slot <> all(leased) then null
                                else coalesce(g.drain_deadline, clock_timestamp() + s.visibility_timeout_ms * interval '1 millisecond') end,
          epoch = g.epoch + (g.owner is distinct from t.member and (g.owner is null or g.slot <> all(leased)))::int
      from target t
      where g.cursor_id = p_cursor and g.slot = t.slot and (g.owner is distinct from t.member or g.next_owner is not null)
        and g.next_owner is distinct from t.member
    returning g.slot
  )
  select array_agg(m.slot) into moved from moves m;
  if moved is null then return; end if;

  perform group_assign(p_cursor, null);
end $function$;

CREATE OR REPLACE FUNCTION group_revoke(p_cursor bigint, p_positions bigint[], p_keys bigint[], p_poisoned bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  failed record;
  late record;
begin
  select array_agg(f.key order by f.key) as keys, array_agg(f.position order by f.key) as positions into failed
    from (select u.key, min(u.position) as position from unnest(p_positions, p_keys) u(position, key) group by u.key) f;
  select * into late from group_take_out(p_cursor, 'leased', failed.keys, failed.positions);
  if p_poisoned is not null then
    insert into paused_keys (cursor_id, key, position)
      select p_cursor, u.key, u.position from unnest(p_positions, p_keys) u(position, key) where u.position = any(p_poisoned)
      on conflict do nothing;
  end if;
  if late.positions is not null then perform group_wait_behind(p_cursor, late.positions, late.keys); end if;
  if p_poisoned is null then return; end if;
  select array_agg(f.key order by f.key) as keys, array_agg(-1::bigint) as positions into failed
    from (select distinct u.key from unnest(p_positions, p_keys) u(position, key) where u.position = any(p_poisoned)) f;
  select * into late from group_take_out(p_cursor, 'ready', failed.keys, failed.positions);
  perform group_enter(p_cursor, late.positions, late.keys);
end $function$;

CREATE OR REPLACE FUNCTION group_set_aside(p_cursor bigint, p_consumer text, p_waiting bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  s subscriptions;
begin
  select sub.* into s from subscriptions sub join subscription_cursors c on c.subscription_id = sub.id where c.id = p_cursor;
  -- In the order of subscription_lock.
  perform from consumers c where c.subscription_id = s.id and c.name = p_consumer and c.set_aside is null for no key update;
  if not found then return false; end if;
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not exists (
       select from deliveries d where d.cursor_id = p_cursor and d.owner = p_consumer and d.owner >= ''
         and d.positions[1] <= p_waiting and p_waiting = any(d.positions))
     or not exists (
       select from consumers c where c.subscription_id = s.id and c.name <> p_consumer and c.set_aside is null
         and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond') then
    return false;
  end if;
  update consumers c
    set set_aside = (select sum(cardinality(d.positions)) from deliveries d where d.cursor_id = p_cursor and d.owner >= '')
    where c.subscription_id = s.id and c.name = p_consumer;
  perform group_rebalance(p_cursor);
  return true;
end $function$;

CREATE OR REPLACE FUNCTION group_take_out(p_cursor bigint, p_state text, p_keys bigint[], p_behind bigint[], OUT positions bigint[], OUT keys bigint[])
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  held record;
begin
  -- A query for each state: one for all could use no index. Every event is looked up by bisection.
  if p_state = 'leased' then
    select array_agg(h.step) as steps, array_agg(h.part) as parts, array_agg(h.piece) as pieces into held
      from (
        select d.step, d.part, d.piece from deliveries d
        where d.cursor_id = p_cursor and d.consumer > ''
          and exists (select from unnest(d.positions, d.keys) u(position, key)
                      where p_keys[width_bucket(u.key, p_keys)] = u.key and u.position > p_behind[width_bucket(u.key, p_keys)])
        order by d.step, d.part, d.piece for update
      ) h;
  elsif p_state = 'ready' then
    select array_agg(h.step) as steps, array_agg(h.part) as parts, array_agg(h.piece) as pieces into held
      from deliveries h
      where h.cursor_id = p_cursor and h.owner >= ''
        and exists (select from unnest(h.keys) u(key) where p_keys[width_bucket(u.key, p_keys)] = u.key);
  else
    select array_agg(h.step) as steps, array_agg(h.part) as parts, array_agg(h.piece) as pieces into held
      from deliveries h
      where h.cursor_id = p_cursor and h.due > '-infinity' and h.due = 'infinity' and h.state = 'parked'
        and exists (select from unnest(h.keys) u(key) where p_keys[width_bucket(u.key, p_keys)] = u.key);
  end if;
  if held.steps is null then return; end if;
  -- With the cursor in the list every batch is found by its whole key; by the parameter, all of the index would be read.
  with listed as materialized (
    select p_cursor as cursor_id, u.* from unnest(held.steps, held.parts, held.pieces) u(step, part, piece)
  ), events as materialized (
    select d.cursor_id, d.step, d.part, d.piece, u.position, u.key, u.n,
           coalesce(p_keys[width_bucket(u.key, p_keys)] = u.key and u.position > p_behind[width_bucket(u.key, p_keys)], false) as taken
    from listed l
      join deliveries d on d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part and d.piece = l.piece
      cross join lateral unnest(d.positions, d.keys) with ordinality u(position, key, n)
  ), cut as materialized (
    select e.cursor_id, e.step, e.part, e.piece,
           array_agg(e.position order by e.n) filter (where e.taken) as taken,
           array_agg(e.position order by e.n) filter (where not e.taken) as rest,
           array_agg(e.key order by e.n) filter (where not e.taken) as rest_keys
    from events e group by 1, 2, 3, 4
  ), emptied as (
    delete from deliveries d using cut c
      where d.step = c.step and d.cursor_id = c.cursor_id and d.part = c.part and d.piece = c.piece and c.rest is null
  ), shortened as (
    update deliveries d set positions = c.rest, keys = c.rest_keys from cut c
      where d.step = c.step and d.cursor_id = c.cursor_id and d.part = c.part and d.piece = c.piece and c.rest is not null and c.taken is not null
  ), revoked as (
    insert into revoked_deliveries as r (cursor_id, step, part, positions, revoked_at)
      select p_cursor, e.step, e.part, array_agg(e.position order by e.position), clock_timestamp()
      from events e where e.taken and p_state = 'leased' group by e.step, e.part
      on conflict (cursor_id, step, part) do update set positions = r.positions || excluded.positions, revoked_at = excluded.revoked_at
  )
  select array_agg(e.position order by e.position), array_agg(e.key order by e.position) into positions, keys
    from events e where e.taken;
end $function$;

CREATE OR REPLACE FUNCTION group_unpause(p_cursor bigint, p_keys bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  freed record;
begin
  if p_keys = '{}' then return; end if;
  delete from paused_keys k where k.cursor_id = p_cursor and k.key = any(p_keys);
  select * into freed from group_take_out(p_cursor, 'parked', p_keys, array_fill(-1::bigint, array[cardinality(p_keys)]));
  perform group_enter(p_cursor, freed.positions, freed.keys);
end $function$;

CREATE OR REPLACE FUNCTION group_wait_behind(p_cursor bigint, p_positions bigint[], p_keys bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  marked constant bigint[] := processed_settle(p_cursor, p_positions);
begin
  if marked <> '{}' then
    select array_agg(u.position order by u.position), array_agg(u.key order by u.position) into p_positions, p_keys
      from unnest(p_positions, p_keys) u(position, key) where u.position <> all(marked);
  end if;
  perform group_enter(p_cursor, p_positions, p_keys);
end $function$;

CREATE OR REPLACE FUNCTION lease_check(p_name text, p_owner uuid, p_epoch bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform 1 from leases l where l.name = p_name and l.owner = p_owner and l.epoch = p_epoch for key share;
  if not found then
    raise exception using errcode = 'SL010', message = format('the lease %s is held by somebody else', p_name);
  end if;
end $function$;

CREATE OR REPLACE FUNCTION lease_hold(p_owner uuid, p_names text[], p_ttl interval)
 RETURNS TABLE(held text, held_epoch bigint)
 LANGUAGE plpgsql
AS $function$
begin
  insert into leases (name, owner, epoch, until)
    select n.name, '00000000-0000-0000-0000-000000000000', 0, '-infinity' from unnest(p_names) n(name)
    where not exists (select 1 from leases l where l.name = n.name)
    order by n.name
    on conflict (name) do nothing;

  return query
    with mine as (
      select l.name from leases l where l.name = any(p_names) and l.owner = p_owner for no key update skip locked
    )
    update leases l set until = clock_timestamp() + p_ttl from mine where l.name = mine.name
      returning l.name, l.epoch;

  return query
    with free as (
      select l.name from leases l
      where l.name = any(p_names) and l.owner <> p_owner
        -- A time far ahead of the clock is one from before the clock was set back.
        and (l.until <= clock_timestamp() or l.until > clock_timestamp() + 10 * p_ttl)
      for update skip locked
    )
    update leases l set owner = p_owner, epoch = l.epoch + 1, until = clock_timestamp() + p_ttl
      from free where l.name = free.name
      returning l.name, l.epoch;
end $function$;

CREATE OR REPLACE FUNCTION lease_release(p_owner uuid, p_names text[])
 RETURNS void
 LANGUAGE sql
AS $function$
  update leases set until = '-infinity', owner = '00000000-0000-0000-0000-000000000000'
    where name = any(p_names) and owner = p_owner;
$function$;

CREATE OR REPLACE FUNCTION lock_acquire(p_principal text, p_key text, p_owner text, p_ttl_ms bigint, OUT acquired boolean, OUT token bigint, OUT owner text, OUT expires_at timestamp with time zone, OUT left_ms bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  l locks;
  now_at timestamptz := clock_timestamp();
begin
  -- Whoever finds it held has locked no row.
  select * into l from locks k where k.principal = p_principal and k.key = p_key;
  if not found or l.expires_at <= now_at then
    loop
      insert into locks (principal, key, token, acquired_at, expires_at)
        values (p_principal, p_key, 0, '-infinity', '-infinity') on conflict (principal, key) do nothing;
      select * into l from locks k where k.principal = p_principal and k.key = p_key for no key update;
      exit when found;
    end loop;
    now_at := clock_timestamp();
  end if;
  acquired := l.expires_at <= now_at;
  if acquired then
    -- Drawn behind the row's lock: drawn before it, an earlier number could come behind a later one.
    update locks k
      set token = nextval('lock_tokens'), owner = p_owner, acquired_at = now_at,
          expires_at = now_at + p_ttl_ms * interval '1 millisecond', released = false
      where k.principal = p_principal and k.key = p_key returning * into l;
  end if;
  token := l.token;
  owner := l.owner;
  expires_at := l.expires_at;
  left_ms := ceil(extract(epoch from l.expires_at - now_at) * 1000);
end $function$;

CREATE OR REPLACE FUNCTION log_append(p_streams text, r_stream integer[], r_expected bigint[], r_count integer[], r_key text, r_request_hash uuid[], e_known integer[], e_hash uuid[], e_bytes integer[], e_version integer[], e_id text, e_type text, e_correlation text, e_partition_key text, e_attributes text, e_data text, e_binary bytea[], k_stream integer[], k_id text, k_source text, r_validation integer[] DEFAULT NULL::integer[], r_born bigint[] DEFAULT NULL::bigint[], r_last_id text DEFAULT NULL::text, r_group integer[] DEFAULT NULL::integer[], a_group integer[] DEFAULT NULL::integer[], a_key text DEFAULT NULL::text, a_hash uuid[] DEFAULT NULL::uuid[], a_answer text DEFAULT NULL::text, o_row bigint[] DEFAULT NULL::bigint[], o_request integer[] DEFAULT NULL::integer[], p_moves json DEFAULT NULL::json, OUT status integer[], OUT actual bigint[], OUT offsets bigint[], OUT relative integer[], OUT positions bigint[], OUT duplicates boolean[], OUT base bigint, OUT recorded timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  s_id bigint[]; s_last bigint[]; s_bytes bigint[]; s_born bigint[]; s_ephemeral boolean[]; s_validation smallint[];
  k_offset bigint[]; k_position bigint[]; k_hash uuid[];
  -- Of ids that came with the group that is being judged: one id cannot stand for two contents.
  k_group_hash uuid[];
  -- Whether the id came with this batch: then its position is still relative to base.
  k_fresh boolean[];
  keys text[] := string_to_array(r_key, E'\x1e', E'\x1f');
  expected_ids text[] := string_to_array(r_last_id, E'\x1e', E'\x1f');
  -- Only where somebody expects one.
  ids text[] := case when r_last_id is not null then string_to_array(e_id, E'\x1e') end;
  s_last_id text[];
  request_count constant int := cardinality(r_stream);
  event_count constant int := cardinality(e_bytes);
  known_count constant int := coalesce(cardinality(k_stream), 0);
  event_stream bigint[]; cumulative bigint[];
  r_first int[];
  checkpoint bigint;
  last_recorded timestamptz;
  remembered record;
  has_unborn boolean;
  has_ephemeral boolean;
  -- Null, and so is each element, as long as nothing is stored in an ephemeral stream.
  event_ephemeral boolean[];
  fresh_count int := 0;
  last_event int := 0;
  answer_keys text[] := string_to_array(a_key, E'\x1e');
  -- Groups that were answered before.
  answered int[];
  s int; k int; fresh int; verdict int; first_event int;
  -- Up to which request they have been judged, and up to which they are refused, if the last judged ones are.
  judged_to int := 0; refused_to int := 0; judged_event int; is_refused boolean;
  -- Whether there is something to judge of every request, and not of those alone that expect a version or have a key.
  is_any_judged boolean;
begin
  -- Before anything is locked or judged, or a statement that is repeated would store them again.
  if o_row is not null then perform outbox_hold(o_row); end if;
  if p_moves is not null then perform remote_hold(p_moves); end if;

  insert into streams (name)
    select u.name from unnest(string_to_array(p_streams, E'\x1e')) with ordinality u(name, n)
    where (select st.id from streams st where st.name = u.name) is null
    order by u.n
    on conflict (name) do nothing;

  select array_agg(l.id order by l.n), array_agg(l.checkpoint_offset order by l.n), array_agg(l.checkpoint_bytes order by l.n),
         array_agg(l.born_offset order by l.n), array_agg(l.ephemeral order by l.n), bool_or(l.created_at is null),
         bool_or(l.ephemeral), case when max(l.validation) > 0 then array_agg(l.validation order by l.n) end
    into s_id, s_last, s_bytes, s_born, s_ephemeral, has_unborn, has_ephemeral, s_validation
    from (
      select st.*, u.n
      from unnest(string_to_array(p_streams, E'\x1e')) with ordinality u(name, n)
        cross join lateral (select s.* from streams s where s.name = u.name for no key update) st
    ) l;
  -- A row without an event was removed in between: begin anew, and make it again.
  if cardinality(s_id) is distinct from cardinality(string_to_array(p_streams, E'\x1e')) then
    raise serialization_failure using message = 'a stream was removed meanwhile';
  end if;

  select l.checkpoint_position into checkpoint from log l;

  select array_agg(coalesce(e."offset", p.last) order by p.n), array_agg(coalesce(e.stream_bytes, p.bytes) order by p.n),
         case when r_last_id is not null then array_agg(e.id order by p.n) end
    into s_last, s_bytes, s_last_id
    from unnest(s_id, s_last, s_bytes) with ordinality p(id, last, bytes, n)
    left join lateral (
      select ev."offset", ev.stream_bytes, ev.id from events ev
      where ev.stream_id = p.id and ev.position >= checkpoint
      order by ev."offset" desc limit 1
    ) e on true;

  if known_count > 0 then
    select array_agg(i."offset" order by u.n), array_agg(i.position order by u.n), array_agg(i.content_hash order by u.n)
      into k_offset, k_position, k_hash
      from unnest(k_stream, string_to_array(k_id, E'\x1e'), string_to_array(k_source, E'\x1e'))
        with ordinality u(s, id, source, n)
      left join event_ids i
        on i.id = u.id and i.stream_id = s_id[u.s] and i.source = u.source and i."offset" >= s_born[u.s];
    k_fresh := array_fill(false, array[known_count]);
  end if;

  if a_group is not null then
    -- Whoever answers the same command on another process comes before or after this batch, in an order that is the same for all.
    perform command_answers_lock(answer_keys);
    select array_agg(u.n) into answered
      from unnest(a_group, answer_keys) u(n, key) where exists (select from command_answers c where c.key = u.key);
  end if;

  status := array_fill(0, array[request_count]);
  actual := array_fill(null::bigint, array[request_count]);
  r_first := array_fill(0, array[request_count]);
  offsets := array_fill(null::bigint, array[event_count]);
  positions := offsets;
  event_stream := offsets;
  cumulative := offsets;
  relative := array_fill(null::int, array[event_count]);
  duplicates := array_fill(false, array[event_count]);
  if has_ephemeral then event_ephemeral := duplicates; end if;
  is_any_judged := known_count > 0 or r_group is not null or s_validation is not null or r_validation is not null;

  for m in 1 .. request_count loop
    -- A request that asks for nothing but to be stored needs no judging. The others are judged at the first of their group, and
    -- assigned after: a refused request leaves no event and no visible stream.
    if m > judged_to and (is_any_judged or r_expected[m] is not null or keys[m] is not null) then
      judged_to := m;
      if r_group is not null then
        while r_group[judged_to + 1] = r_group[m] loop
          judged_to := judged_to + 1;
        end loop;
      end if;
      is_refused := false;
      if known_count > 0 then k_group_hash := null; end if;
      judged_event := last_event;

      for j in m .. judged_to loop
        s := r_stream[j];
        r_first[j] := judged_event + 1;
        judged_event := judged_event + r_count[j];
        actual[j] := s_last[s];

        if keys[j] is not null then
          select i.* into remembered from idempotency_keys i where i.key = keys[j];
          -- What a deleted life of the stream answered is forgotten with it.
          if found and remembered.offsets[1] >= s_born[s] then
            is_refused := true;
            if remembered.request_hash <> r_request_hash[j] then
              status[j] := 4;
            else
              status[j] := 5;
              offsets[r_first[j] : judged_event] := remembered.offsets;
              duplicates[r_first[j] : judged_event] := remembered.duplicates;
              positions[judged_event] := remembered.last_position;
            end if;
            continue;
          end if;
        end if;

        verdict := 0;
        fresh := r_count[j];
        if known_count > 0 then
          for n in r_first[j] .. judged_event loop
            k := e_known[n];
            continue when k is null;
            if k_offset[k] is not null then
              fresh := fresh - 1;
              if k_hash[k] <> e_hash[n] then
                verdict := 3;
                duplicates[n] := true;
              end if;
            elsif k_group_hash[k] is null then
              k_group_hash[k] := e_hash[n];
            else
              fresh := fresh - 1;
              if k_group_hash[k] <> e_hash[n] then
                verdict := 3;
                duplicates[n] := true;
              end if;
            end if;
          end loop;
        end if;
        -- What is stored already is not judged again.
        if fresh > 0 then
          if s_validation is not null or r_validation is not null then
            if least(coalesce(r_validation[j], 0), 2) <> coalesce(s_validation[s], 0) then
              is_refused := true;
              status[j] := 7;
              actual[j] := coalesce(s_validation[s], 0);
              continue;
            end if;
            if verdict = 0 and r_validation[j] = 3 then verdict := 8; end if;
          end if;
          if verdict = 0 and r_expected[j] is not null and (
               not (s_last[s] = r_expected[j] or (r_expected[j] = -2 and s_last[s] >= s_born[s]))
               or r_born[j] <> s_born[s] or coalesce(expected_ids[j] <> s_last_id[s], expected_ids[j] is not null)) then
            verdict := 2;
          end if;
        end if;
        if verdict = 0 and answered is not null and r_group[j] = any(answered) then verdict := 10; end if;
        if verdict <> 0 then
          is_refused := true;
          status[j] := verdict;
        elsif fresh = 0 then
          status[j] := 1;
        end if;
      end loop;

      if is_refused then
        refused_to := judged_to;
        for j in m .. judged_to loop
          if status[j] in (0, 1) then status[j] := 9; end if;
        end loop;
      end if;
    end if;

    first_event := last_event + 1;
    last_event := last_event + r_count[m];
    continue when m <= refused_to;

    s := r_stream[m];
    if has_ephemeral and s_ephemeral[s] and status[m] = 0 then
      status[m] := 6;
      event_ephemeral[first_event : last_event] := array_fill(true, array[r_count[m]]);
    end if;
    for n in first_event .. last_event loop
      if known_count > 0 then k := e_known[n]; end if;
      if k is not null and k_offset[k] is not null then
        offsets[n] := k_offset[k];
        duplicates[n] := true;
        positions[n] := case when k_fresh[k] then -1 - k_position[k] else k_position[k] end;
      else
        s_last[s] := s_last[s] + 1;
        s_bytes[s] := s_bytes[s] + e_bytes[n];
        offsets[n] := s_last[s];
        cumulative[n] := s_bytes[s];
        event_stream[n] := s_id[s];
        relative[n] := fresh_count;
        if k is not null then
          k_offset[k] := s_last[s];
          k_position[k] := fresh_count;
          k_hash[k] := e_hash[n];
          k_fresh[k] := true;
        end if;
        if ids is not null then s_last_id[s] := ids[n]; end if;
        fresh_count := fresh_count + 1;
      end if;
    end loop;
    actual[m] := s_last[s];
  end loop;

  if fresh_count > 0 then
    if has_unborn then
      update streams st set created_at = clock_timestamp()
        where st.created_at is null and st.id = any(event_stream);
    end if;

    perform pg_advisory_xact_lock(log_lock());

    select e.position + 1, e.recorded_at into base, last_recorded
      from events e where e.position >= checkpoint order by e.position desc limit 1;
    base := coalesce(base, checkpoint);
    recorded := greatest(date_trunc('milliseconds', clock_timestamp()), last_recorded);

    insert into events (position, stream_id, "offset", stream_bytes, recorded_at, schema_version, bytes, ephemeral, id, type,
                        correlation_id, partition_key, attributes, data, data_binary)
      select base + u.relative, u.stream, u."offset", u.cumulative, recorded, u.version, u.bytes,
             coalesce(u.ephemeral, false), u.id, u.type, u.correlation, u.partition_key, u.attributes::json, u.data::json, u.data_binary
      from unnest(
             relative, event_stream, event_ephemeral, offsets, cumulative, e_version, e_bytes,
             string_to_array(e_id, E'\x1e'), string_to_array(e_type, E'\x1e'),
             string_to_array(e_correlation, E'\x1e', E'\x1f'), string_to_array(e_partition_key, E'\x1e', E'\x1f'),
             string_to_array(e_attributes, E'\x1e'), string_to_array(e_data, E'\x1e', E'\x1f'), e_binary)
        as u(relative, stream, ephemeral, "offset", cumulative, version, bytes, id, type, correlation, partition_key,
             attributes, data, data_binary)
      where u.relative is not null;

    if known_count > 0 then
      insert into event_ids (id, stream_id, source, "offset", position, content_hash, recorded_at)
        select u.id, s_id[u.s], u.source, u."offset", base + u.position, u.hash, recorded
        from unnest(k_stream, string_to_array(k_id, E'\x1e'), string_to_array(k_source, E'\x1e'),
                    k_offset, k_position, k_hash, k_fresh)
          as u(s, id, source, "offset", position, hash, is_fresh)
        where u.is_fresh
        -- Only an id of the stream's earlier life can stand there.
        on conflict (id, stream_id, source) do update
          set "offset" = excluded."offset", position = excluded.position,
              content_hash = excluded.content_hash, recorded_at = excluded.recorded_at;
    end if;
  end if;

  if r_key is not null then
    insert into idempotency_keys (key, request_hash, offsets, duplicates, last_position, recorded_at)
      select u.key, u.hash, offsets[u.first : u.first + u.count - 1], duplicates[u.first : u.first + u.count - 1],
             (select max(case when relative[n] is not null then base + relative[n]
                              when positions[n] < 0 then base - 1 - positions[n]
                              else positions[n] end)
              from generate_series(u.first, u.first + u.count - 1) n),
             coalesce(recorded, clock_timestamp())
      from unnest(keys, r_request_hash, r_first, r_count, status) as u(key, hash, first, count, code)
      where u.key is not null and u.code in (0, 1, 6)
      order by u.key
      on conflict (key) do update
        set request_hash = excluded.request_hash, offsets = excluded.offsets, duplicates = excluded.duplicates,
            last_position = excluded.last_position, recorded_at = excluded.recorded_at;
  end if;

  if o_row is not null then
    delete from outbox o using unnest(o_row, o_request) u(row, request) where o.id = u.row and status[u.request] in (0, 1, 6);
  end if;

  if p_moves is not null then perform remote_move(p_moves, status); end if;

  if a_group is not null then
    insert into command_answers (key, request_hash, answer, offsets, recorded_at)
      select u.key, u.hash, u.answer::json, offsets[g.first : g.last], coalesce(recorded, clock_timestamp())
      from unnest(a_group, answer_keys, a_hash, string_to_array(a_answer, E'\x1e')) u(n, key, hash, answer)
        cross join lateral (
          select min(r_first[m]) as first, max(r_first[m] + r_count[m] - 1) as last, bool_and(status[m] in (0, 1, 6)) as is_stored
          from generate_series(1, request_count) m where r_group[m] = u.n
        ) g
      where g.is_stored
      order by u.key;
  end if;
end $function$;

CREATE OR REPLACE FUNCTION log_checkpoint(p_head bigint, p_span bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  lower_bound bigint;
  upper_bound bigint;
  ids bigint[]; offsets bigint[]; bytes bigint[]; positions bigint[];
begin
  select l.checkpoint_position into lower_bound from log l for no key update;
  -- The last event stays above the checkpoint: the next append goes by its time.
  upper_bound := least(lower_bound + p_span, p_head);
  if upper_bound - lower_bound < p_span then return false; end if;
  select array_agg(ends.stream_id), array_agg(ends."offset"), array_agg(ends.stream_bytes), array_agg(ends.position)
    into ids, offsets, bytes, positions
    from (
      select distinct on (e.stream_id) e.stream_id, e."offset", e.stream_bytes, e.position
      from events e where e.position >= lower_bound and e.position < upper_bound
      order by e.stream_id, e.position desc
    ) ends;
  -- In the order in which appends lock them.
  perform from streams s where s.id = any(ids) order by s.name for no key update;
  update streams s
    set checkpoint_offset = ends."offset", checkpoint_bytes = ends.stream_bytes, checkpoint_position = ends.position
    from unnest(ids, offsets, bytes, positions) as ends(stream_id, "offset", stream_bytes, position)
    where s.id = ends.stream_id and s.checkpoint_offset < ends."offset";
  update log set checkpoint_position = upper_bound;
  return p_head - upper_bound >= p_span;
end $function$;

CREATE OR REPLACE FUNCTION log_control(p_type text, p_data json)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  control streams;
  next_position bigint;
  next_offset bigint;
  last_recorded timestamptz;
  total bigint;
begin
  perform pg_advisory_xact_lock(log_lock());
  select * into control from streams where name = '$control';
  select coalesce(max(h.last_offset), -1) + 1, coalesce(max(h.bytes), 0) + control.first_bytes into next_offset, total
    from stream_heads h where h.id = control.id;
  select e.position + 1, e.recorded_at into next_position, last_recorded
    from events e where e.position >= (select l.checkpoint_position from log l) order by e.position desc limit 1;
  next_position := coalesce(next_position, (select l.checkpoint_position from log l));
  insert into events (position, stream_id, "offset", stream_bytes, recorded_at, schema_version, bytes, ephemeral, id, type, attributes, data)
    values (next_position, control.id, next_offset, total + octet_length(p_data::text),
            greatest(date_trunc('milliseconds', clock_timestamp()), last_recorded), 1, octet_length(p_data::text), false,
            gen_random_uuid()::text, p_type, '{"source":"/sluice"}', p_data);
  return next_position;
end $function$;

CREATE OR REPLACE FUNCTION log_lock()
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
  select hashtextextended('sluice log ' || current_schema(), 0)
$function$;

CREATE OR REPLACE FUNCTION log_partition_add(p_ephemeral boolean, p_size bigint)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  parent text := case when p_ephemeral then 'events_ephemeral' else 'events_persistent' end;
  lower_bound bigint := log_partition_end(p_ephemeral);
  upper_bound bigint := lower_bound + p_size;
  leaf text := parent || '_' || lower_bound;
begin
  execute format('create table %I (like %I including defaults including storage)', leaf, parent);
  execute format('alter table %I add constraint %I primary key (position)', leaf, leaf || '_position');
  execute format('create unique index %I on %I (stream_id, "offset")', leaf || '_stream_offset', leaf);
  execute format('create index %I on %I (stream_id, position)', leaf || '_stream_position', leaf);
  execute format('create index %I on %I (type, position)', leaf || '_type', leaf);
  execute format('create index %I on %I (correlation_id, position) where correlation_id is not null', leaf || '_correlation', leaf);
  -- With the bounds proven by a constraint, ATTACH scans nothing.
  execute format('alter table %I add constraint %I check (ephemeral = %L::boolean and position >= %s and position < %s)',
    leaf, leaf || '_bounds', p_ephemeral, lower_bound, upper_bound);
  execute format('alter table %I attach partition %I for values from (%s) to (%s)', parent, leaf, lower_bound, upper_bound);
  execute format('alter table %I drop constraint %I', leaf, leaf || '_bounds');
  -- For its side effect: every plan over events is made again. Postgres overlooks an ATTACH to a partition of the table that a statement
  -- names while it plans that statement: a generic plan without the new partition would be kept, a stream's end missed, and an
  -- offset given twice.
  alter table only events alter column position set statistics -1;
  return upper_bound;
end $function$;

CREATE OR REPLACE FUNCTION log_partition_end(p_ephemeral boolean)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
  select coalesce(max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''?(\d+)''?\)'))[1]::bigint), 0)
  from pg_inherits i
  join pg_class c on c.oid = i.inhrelid
  where i.inhparent = (case when p_ephemeral then 'events_ephemeral' else 'events_persistent' end)::regclass
$function$;

CREATE OR REPLACE FUNCTION log_position_at(p_time timestamp with time zone, p_head bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  low bigint := 0;
  high bigint := p_head + 1;
  middle bigint;
  found_position bigint;
  found_time timestamptz;
begin
  while low < high loop
    middle := (low + high) / 2;
    select e.position, e.recorded_at into found_position, found_time
      from events e where e.position >= middle and e.position < high order by e.position limit 1;
    if found_position is null or found_time >= p_time then
      high := middle;
    else
      low := found_position + 1;
    end if;
  end loop;
  return low;
end $function$;

CREATE OR REPLACE FUNCTION nats_subjects_overlap(p_one text, p_other text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select p_one = p_other
    or (p_one like '%.{type}' or p_other like '%.{type}')
      and regexp_replace(p_one, '[^.]*$', '') = regexp_replace(p_other, '[^.]*$', '')
$function$;

CREATE OR REPLACE FUNCTION outbox_hold(p_ids bigint[])
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  held int;
begin
  select count(*) into held from (
    select 1 from outbox o where o.id = any(p_ids) and o.failure is null for update skip locked
  ) h;
  if held <> cardinality(p_ids) then
    raise exception using errcode = 'SL011', message = 'rows of the outbox are gone, or held by somebody else';
  end if;
  return true;
end $function$;

CREATE OR REPLACE FUNCTION partition_blocker(p_partition text, p_records_before timestamp with time zone, OUT stream_id bigint, OUT "offset" bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET enable_seqscan TO 'off'
AS $function$
begin
  -- From stream to stream along the index, to each one's last event only.
  execute format($q$
    with recursive own(id) as (
      (select e.stream_id from %1$I e order by e.stream_id limit 1)
      union all
      select (select e.stream_id from %1$I e where e.stream_id > o.id order by e.stream_id limit 1)
      from own o where o.id is not null
    )
    select s.id, l."offset"
    from own o join streams s on s.id = o.id
      cross join lateral (
        select e."offset", e.recorded_at from %1$I e where e.stream_id = s.id order by e."offset" desc limit 1
      ) l
    where l."offset" >= s.first_offset and (not s.internal or l.recorded_at >= $1)
    limit 1
  $q$, p_partition) into stream_id, "offset" using p_records_before;
end $function$;

CREATE OR REPLACE FUNCTION processed_forget(p_before timestamp with time zone, p_after timestamp with time zone, p_limit integer, OUT gone integer, OUT reached timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  looked int;
begin
  perform set_config('synchronous_commit', 'off', true);
  with old as (
    select p.cursor_id, p.position, p.processed_at from processed_events p
    where p.processed_at > '-infinity' and p.processed_at > p_after and p.processed_at < p_before
    order by p.processed_at limit p_limit for update skip locked
  ), forgotten as (
    delete from processed_events p using old
      where p.cursor_id = old.cursor_id and p.position = old.position
        and not exists (select from deliveries d where d.cursor_id = old.cursor_id and d.positions[1] > -1
                          and d.positions[1] <= old.position and old.position = any(d.positions))
      returning p.position
  )
  select count(*), max(old.processed_at), (select count(*) from forgotten) into looked, reached, gone from old;
  if looked < p_limit then reached := null; end if;
end $function$;

CREATE OR REPLACE FUNCTION processed_mark(p_cursor bigint, p_step bigint, p_part smallint, p_position bigint, p_consumer text, p_event_id text, OUT outcome text, OUT processed_at timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  mark processed_events;
  holder text;
begin
  -- The lease stays locked until the commit: whoever takes it back afterwards sees the mark.
  select d.consumer into holder from deliveries d
    where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.state = 'leased' and d.due > clock_timestamp()
      and p_position = any(d.positions)
    for update;
  select * into mark from processed_events p where p.cursor_id = p_cursor and p.position = p_position;
  if found then
    processed_at := mark.processed_at;
    outcome := case when mark.event_id <> p_event_id then 'stale'
                    when mark.step <> p_step or mark.part <> p_part then 'already'
                    when mark.consumer <> p_consumer then 'stale'
                    else 'repeated' end;
    return;
  end if;
  -- An event that is gone from the log cannot be compared: its token names it all the same.
  if holder is distinct from p_consumer
    or exists (select from events e where e.position = p_position and e.id <> p_event_id) then
    outcome := 'stale';
    return;
  end if;
  insert into processed_events (cursor_id, position, event_id, consumer, step, part, processed_at)
    values (p_cursor, p_position, p_event_id, p_consumer, p_step, p_part, clock_timestamp())
    returning processed_events.processed_at into processed_at;
  outcome := 'marked';
end $function$;

CREATE OR REPLACE FUNCTION processed_settle(p_cursor bigint, p_positions bigint[])
 RETURNS bigint[]
 LANGUAGE plpgsql
AS $function$
declare
  marked constant bigint[] := array(
    select p.position from processed_events p where p.cursor_id = p_cursor and p.position = any(p_positions) order by p.position);
begin
  if marked = '{}' then return marked; end if;
  if cursor_keeps_receipts(p_cursor) then perform receipt_deliver(p_cursor, marked);
  else delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(marked);
  end if;
  return marked;
end $function$;

CREATE OR REPLACE FUNCTION projection_advance(p_projection text, p_generation integer, p_from bigint, p_to bigint, p_events integer, p_owner uuid, p_epoch bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform lease_check('projection:' || p_projection, p_owner, p_epoch);
  update projection_generations g
    set position = p_to, events = g.events + p_events,
        attempts = case when g.failed_position > p_to then g.attempts else 0 end,
        failed_position = case when g.failed_position > p_to then g.failed_position end,
        halted = g.halted and g.failed_position > p_to
    where g.projection = p_projection and g.generation = p_generation and g.position = p_from
      and g.role in ('live', 'building') and not g.paused;
  if not found then
    raise exception using errcode = 'SL012',
      message = format('generation %s of projection %s does not go on from %s', p_generation, p_projection, p_from);
  end if;
end $function$;

CREATE OR REPLACE FUNCTION projection_fail(p_projection text, p_generation integer, p_from bigint, p_failed bigint, p_error text, p_attempts integer, p_owner uuid, p_epoch bigint)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  tried int;
begin
  perform lease_check('projection:' || p_projection, p_owner, p_epoch);
  update projection_generations g
    set attempts = case when g.failed_position = p_failed then g.attempts + 1 else 1 end,
        halted = case when g.failed_position = p_failed then g.attempts + 1 else 1 end >= p_attempts,
        failed_position = p_failed, failures = g.failures + 1, last_error = p_error, last_error_at = clock_timestamp()
    where g.projection = p_projection and g.generation = p_generation and g.position = p_from
      and g.role in ('live', 'building')
    returning g.attempts into tried;
  return tried;
end $function$;

CREATE OR REPLACE FUNCTION projection_generation_add(p_projection text, p_generation integer, p_role text, p_schema_name text, p_definition uuid, p_version integer, p_about json, p_position bigint, p_events bigint, p_owner uuid, p_epoch bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  is_paused boolean;
begin
  perform lease_check('projection:' || p_projection, p_owner, p_epoch);
  select p.paused into strict is_paused from projections p where p.name = p_projection for no key update;
  if p_role = 'building' then
    update projection_generations g set role = 'retired', role_since = clock_timestamp()
      where g.projection = p_projection and g.role = 'building';
    update projections p set rebuild_requested = null where p.name = p_projection;
  end if;
  insert into projection_generations
      (projection, generation, role, schema_name, definition, version, about, position, events, paused)
    values (p_projection, p_generation, p_role, p_schema_name, p_definition, p_version, p_about, p_position, p_events, is_paused);
end $function$;

CREATE OR REPLACE FUNCTION projection_pause(p_projection text, p_paused boolean)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  update projections p set paused = p_paused where p.name = p_projection;
  if not found then return false; end if;
  perform from projection_generations g where g.projection = p_projection order by g.generation for no key update;
  update projection_generations g
    set paused = p_paused,
        halted = g.halted and p_paused, attempts = case when g.halted and not p_paused then 0 else g.attempts end
    where g.projection = p_projection;
  return true;
end $function$;

CREATE OR REPLACE FUNCTION projection_rebuild(p_projection text, p_from text)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
begin
  perform from projections p where p.name = p_projection for no key update;
  if not found then return 'not-found'; end if;
  if exists (select from projection_generations g where g.projection = p_projection and g.role = 'building' and not g.halted)
     or exists (select from projections p where p.name = p_projection and p.rebuild_requested is not null) then
    return 'building';
  end if;
  if p_from = 'snapshot' and not exists (
    select from projection_generations s join projection_generations l using (projection, definition)
    where s.projection = p_projection and s.role = 'snapshot' and l.role = 'live'
  ) then
    return 'no-snapshot';
  end if;
  update projections p set rebuild_requested = p_from where p.name = p_projection;
  return 'requested';
end $function$;

CREATE OR REPLACE FUNCTION projection_skip(p_projection text, p_position bigint)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  skipped int;
begin
  insert into projection_skips (projection, generation, position, error)
    select g.projection, g.generation, p_position, g.last_error from projection_generations g
    where g.projection = p_projection and g.failed_position = p_position and g.role in ('live', 'building')
    order by g.generation for update
    on conflict do nothing;
  update projection_generations g
    set position = p_position, failed_position = null, attempts = 0, halted = false
    where g.projection = p_projection and g.failed_position = p_position and g.position < p_position
      and g.role in ('live', 'building');
  get diagnostics skipped = row_count;
  return skipped;
end $function$;

CREATE OR REPLACE FUNCTION projection_swap(p_projection text, p_generation integer, p_owner uuid, p_epoch bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  own projection_generations;
  live projection_generations;
begin
  perform lease_check('projection:' || p_projection, p_owner, p_epoch);
  perform from projections p where p.name = p_projection for no key update;
  -- In the order of generations, as whoever locks several does.
  perform from projection_generations g where g.projection = p_projection order by g.generation for no key update;
  select * into own from projection_generations g
    where g.projection = p_projection and g.generation = p_generation and g.role = 'building';
  if not found or own.paused then return false; end if;
  select * into live from projection_generations g where g.projection = p_projection and g.role = 'live';
  if found then
    if own.position < live.position then return false; end if;
    update projection_generations g set role = 'retired', role_since = clock_timestamp()
      where g.projection = p_projection and g.generation = live.generation;
  end if;
  update projection_generations g set role = 'live', role_since = clock_timestamp()
    where g.projection = p_projection and g.generation = p_generation;
  return true;
end $function$;

CREATE OR REPLACE FUNCTION queue_state(p_stream_id bigint, OUT pending bigint, OUT dead_letters bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  q record;
begin
  select s.id, k.place, k.leased + k.waiting + k.parked as unsettled into q
    from streams st join subscriptions s on s.queue_of = st.name join cursor_states k on k.subscription_id = s.id
    where st.id = p_stream_id;
  if not found then
    select h.last_offset - h.first_offset + 1, 0 into pending, dead_letters from stream_heads h where h.id = p_stream_id;
    return;
  end if;
  select b.events + q.unsettled into pending from subscription_backlog(q.id, q.place, 1) b;
  select count(*) into dead_letters from dead_letters l where l.subscription_id = q.id;
end $function$;

CREATE OR REPLACE FUNCTION receipt_deliver(p_cursor bigint, p_positions bigint[])
 RETURNS void
 LANGUAGE sql
AS $function$
  insert into receipts (cursor_id, positions, delivered_at, due)
    select p_cursor, p_positions, n.now_at, n.now_at + s.unread_timeout_ms * interval '1 millisecond'
    from subscription_cursors c join subscriptions s on s.id = c.subscription_id, (select clock_timestamp() as now_at) n
    where c.id = p_cursor and cardinality(p_positions) > 0
$function$;

CREATE OR REPLACE FUNCTION receipt_read(p_cursor bigint, p_positions bigint[])
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  last constant bigint := (select max(u.position) from unnest(p_positions) u(position));
  cursor_place bigint;
  held record;
  here bigint[];
  rest bigint[];
  read bigint[] := '{}';
  early int;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return 0; end if;
  select n.place into cursor_place from cursor_next(p_cursor, clock_timestamp()) n;
  -- First what is handed out, then what is delivered: an acknowledgement, which does not lock the cursor, moves events from
  -- there to here, and one that has not committed yet is waited for.
  for held in
    select d.step, d.part, d.piece, d.positions from deliveries d
    where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] <= last and d.positions && p_positions
    order by d.step, d.part, d.piece for update
  loop
    here := array(select u.position from unnest(held.positions) u(position) where u.position = any(p_positions));
    read := read || here;
    perform delivery_take_out(held.step, p_cursor, held.part, held.piece, here);
  end loop;
  for held in
    select r.id, r.positions from receipts r
    where r.cursor_id = p_cursor and r.positions[1] > -1 and r.positions[1] <= last and r.positions && p_positions
    order by r.id for update
  loop
    select array_agg(u.position order by u.position) filter (where u.position = any(p_positions)),
           array_agg(u.position order by u.position) filter (where u.position <> all(p_positions))
      into here, rest from unnest(held.positions) u(position);
    read := read || here;
    if rest is null then delete from receipts r where r.id = held.id;
    else update receipts r set positions = rest where r.id = held.id;
    end if;
  end loop;
  delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(read);
  insert into early_reads (cursor_id, position)
    select p_cursor, u.position from unnest(p_positions) u(position) where u.position > cursor_place
    on conflict (cursor_id, position) do nothing;
  get diagnostics early = row_count;
  return cardinality(read) + early;
end $function$;

CREATE OR REPLACE FUNCTION receipt_read_up_to(p_cursor bigint, p_upto bigint, p_after bigint, p_scanned bigint, p_candidates bigint[], OUT read bigint, OUT place bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  next_step bigint;
  target constant bigint := least(p_upto, p_scanned);
  more bigint;
begin
  read := 0;
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  select n.step, n.place into next_step, place from cursor_next(p_cursor, clock_timestamp()) n;
  if place >= p_after and place < target then
    select count(*) into read from unnest(p_candidates) c(position)
      where c.position > place and c.position <= target
        and not exists (select from early_reads e where e.cursor_id = p_cursor and e.position = c.position);
    place := target;
    insert into cursor_steps (cursor_id, step, position) values (p_cursor, next_step, place);
    delete from early_reads e where e.cursor_id = p_cursor and e.position <= place;
  end if;

  -- In this order: see receipt_read.
  with gone as (
    delete from deliveries d
      where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] <= p_upto
        and d.positions[cardinality(d.positions)] <= p_upto
      returning cardinality(d.positions) as events
  )
  select coalesce(sum(gone.events), 0) into more from gone;
  read := read + more;
  with cut as (
    update deliveries d set positions = array(select u.position from unnest(d.positions) u(position) where u.position > p_upto)
      from (select v.cursor_id, v.step, v.part, v.piece, cardinality(v.positions) as events from deliveries v
            where v.cursor_id = p_cursor and v.positions[1] > -1 and v.positions[1] <= p_upto for update) before
      where d.step = before.step and d.cursor_id = before.cursor_id and d.part = before.part and d.piece = before.piece
      returning before.events - cardinality(d.positions) as events
  )
  select coalesce(sum(cut.events), 0) into more from cut;
  read := read + more;

  with gone as (
    delete from receipts r
      where r.cursor_id = p_cursor and r.positions[1] > -1 and r.positions[1] <= p_upto
        and r.positions[cardinality(r.positions)] <= p_upto
      returning cardinality(r.positions) as events
  )
  select coalesce(sum(gone.events), 0) into more from gone;
  read := read + more;
  with cut as (
    update receipts r set positions = array(select u.position from unnest(r.positions) u(position) where u.position > p_upto)
      from (select v.id, cardinality(v.positions) as events from receipts v
            where v.cursor_id = p_cursor and v.positions[1] > -1 and v.positions[1] <= p_upto for update) before
      where r.id = before.id
      returning before.events - cardinality(r.positions) as events
  )
  select coalesce(sum(cut.events), 0) into more from cut;
  read := read + more;
  delete from delivery_failures f where f.cursor_id = p_cursor and f.position <= p_upto;
end $function$;

CREATE OR REPLACE FUNCTION receipts_expire(p_limit integer)
 RETURNS TABLE(cursor_id bigint, action text, events integer)
 LANGUAGE plpgsql
AS $function$
declare
  late record;
  expired bigint[];
  now_at constant timestamptz := clock_timestamp();
begin
  for late in
    select c.id, c.consumer, s.on_unread_expired, o.receipts
    from (
        select u.cursor_id, array_agg(u.id) as receipts
        from (
          select n.id, n.cursor_id, sum(n.events) over (order by n.due, n.id) - n.events as before
          from (
            select r.id, r.cursor_id, r.due, cardinality(r.positions) as events from receipts r
            where r.due > '-infinity' and r.due <= now_at order by r.due limit p_limit
          ) n
        ) u
        where u.before < 2000 group by u.cursor_id
      ) o
      join subscription_cursors c on c.id = o.cursor_id join subscriptions s on s.id = c.subscription_id
    order by c.id for no key update of c skip locked
  loop
    with gone as (
      delete from receipts r
        where r.id = any(late.receipts) and r.cursor_id = late.id and r.due <= now_at returning r.positions
    )
    select array_agg(u.position order by u.position) into expired from gone, unnest(gone.positions) u(position);
    continue when expired is null;
    if late.on_unread_expired = 'drop' then
      delete from delivery_failures f where f.cursor_id = late.id and f.position = any(expired);
    else
      perform delivery_fail(late.id, late.consumer, expired, null, 'not read in time', 0, late.on_unread_expired = 'dead-letter');
    end if;
    cursor_id := late.id;
    action := late.on_unread_expired;
    events := cardinality(expired);
    return next;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION receipts_sweep(p_after bigint, p_limit integer, OUT reached bigint, OUT dropped integer)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  held record;
  at bigint := p_after;
  gone bigint[];
  removed bigint[];
  is_rest boolean;
begin
  dropped := 0;
  for n in 1 .. p_limit loop
    select r.cursor_id, r.positions[1] as position into held from receipts r
      where r.cursor_id > at and r.positions[1] > -1 order by r.cursor_id, r.positions[1] limit 1;
    if not found then
      reached := null;
      return;
    end if;
    at := held.cursor_id;
    reached := at;
    continue when event_is_there(held.position);
    perform from subscription_cursors c where c.id = at for no key update skip locked;
    continue when not found;
    -- Together, for each call looks at all before it; of very many some, and then the cursor comes once more.
    removed := '{}';
    is_rest := false;
    for held in
      select r.positions from receipts r where r.cursor_id = at and r.positions[1] > -1 order by r.positions[1]
    loop
      gone := array(select u.position from unnest(held.positions) u(position) where not event_is_there(u.position));
      exit when gone = '{}';
      removed := removed || gone;
      is_rest := cardinality(removed) >= 500;
      exit when is_rest;
    end loop;
    dropped := dropped + receipt_read(at, removed);
    if is_rest then
      reached := at - 1;
      return;
    end if;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION remote_advance(p_moves json)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform remote_hold(p_moves);
  perform remote_move(p_moves, null);
end $function$;

CREATE OR REPLACE FUNCTION remote_configure(p_name text, p_source json, p_max_deliveries integer, p_backoff_initial_ms integer, p_backoff_factor double precision, p_backoff_max_ms integer)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  is_new boolean;
begin
  -- Before its origins: a move that is under way notes one behind the delete otherwise.
  perform from remote_streams r where r.name = p_name for no key update;
  -- What was seen of one source says nothing of what another one has: it is told apart by ids.
  delete from remote_origins o using remote_streams r
    where r.name = p_name and r.source::text <> p_source::text and o.remote_id = r.id;
  update remote_standings t set last_error = null, last_error_at = null
    from remote_streams r where r.name = p_name and r.source::text <> p_source::text and t.remote_id = r.id;
  insert into streams (name) values (p_name) on conflict (name) do nothing;
  update streams s set created_at = date_trunc('milliseconds', clock_timestamp()) where s.name = p_name and s.created_at is null;
  insert into remote_streams as r (name, source, max_deliveries, backoff_initial_ms, backoff_factor, backoff_max_ms)
    values (p_name, p_source, p_max_deliveries, p_backoff_initial_ms, p_backoff_factor, p_backoff_max_ms)
    on conflict (name) do update
      set source = excluded.source, max_deliveries = excluded.max_deliveries, backoff_initial_ms = excluded.backoff_initial_ms,
          backoff_factor = excluded.backoff_factor, backoff_max_ms = excluded.backoff_max_ms,
          revision = r.revision + case when r.source::text = excluded.source::text then 0 else 1 end,
          -- The stream is kept without its time: that is where the consumer of the former source is to be taken away.
          jetstream_created = case when r.source::text = excluded.source::text then r.jetstream_created else '' end,
          sequence = case when r.source::text = excluded.source::text then r.sequence else 0 end,
          stored_ms = case when r.source::text = excluded.source::text then r.stored_ms end
    returning xmax = 0 into is_new;
  return is_new;
end $function$;

CREATE OR REPLACE FUNCTION remote_hold(p_moves json)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  held int;
  letters bigint[];
begin
  select count(*) into held from (
    select 1
    from json_to_recordset(p_moves) m(remote bigint, revision bigint) join remote_streams r on r.id = m.remote
    where m.revision is null or m.revision = r.revision
    order by r.id
    for no key update of r
  ) h;
  if held = json_array_length(p_moves) then
    select array_agg(l.id) into letters
      from json_to_recordset(p_moves) m(settled bigint[]) cross join lateral unnest(m.settled) l(id);
    if letters is null then return; end if;
    select count(*) into held from (
      select 1 from remote_dead_letters l where l.id = any(letters) and l.due_at is not null order by l.id for update skip locked
    ) h;
    if held = cardinality(letters) then return; end if;
  end if;
  raise exception using errcode = 'SL013', message = 'the mirror was moved by somebody else';
end $function$;

CREATE OR REPLACE FUNCTION remote_move(p_moves json, p_status integer[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  made json;
begin
  select json_agg(m.move) into made
    from json_array_elements(p_moves) m(move)
    where p_status is null or p_status[(m.move ->> 'request')::int] in (0, 1, 6);
  if made is null then return; end if;

  update remote_streams r
    set revision = r.revision + 1, jetstream = m.jetstream, jetstream_created = m.created, sequence = m.sequence,
        stored_ms = m."storedMs"
    from json_to_recordset(made) m(remote bigint, jetstream text, created text, sequence bigint, "storedMs" bigint)
    where r.id = m.remote and m.jetstream is not null;

  insert into remote_origins as r (remote_id, log_id, stream, "offset")
    select m.remote, o."logId", o.stream, o."offset"
    from json_to_recordset(made) m(remote bigint, origins json)
      cross join lateral json_to_recordset(m.origins) o("logId" text, stream text, "offset" bigint)
    order by 1, 2, 3
    on conflict (remote_id, log_id, stream) do update set "offset" = excluded."offset"
      where r."offset" < excluded."offset";

  insert into remote_dead_letters (remote_id, jetstream, sequence, stored_ms, subject, headers, payload, reason, detail, attempts, due_at)
    select m.remote, l.jetstream, l.sequence, l."storedMs", l.subject, l.headers, decode(l.payload, 'base64'), l.reason, l.detail, 1,
           clock_timestamp() + l."retryMs" * interval '1 ms'
    from json_to_recordset(made) m(remote bigint, letters json)
      cross join lateral json_to_recordset(m.letters)
        l(jetstream text, sequence bigint, "storedMs" bigint, subject text, headers json, payload text, reason text, detail text,
          "retryMs" bigint)
    order by l.sequence;

  delete from remote_dead_letters d
    using json_to_recordset(made) m(settled bigint[])
    where d.id = any(m.settled);
end $function$;

CREATE OR REPLACE FUNCTION replayed_letters_forget(p_position bigint, p_cursor bigint, p_limit integer, p_grace interval, OUT reached_position bigint, OUT reached_cursor bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  r record;
begin
  for r in
    select l.position, l.cursor_id, l.settled_at, delivery_is_open(l.cursor_id, l.position) as is_open
    from replayed_letters l where (l.position, l.cursor_id) > (p_position, p_cursor)
    order by l.position, l.cursor_id limit p_limit
  loop
    reached_position := r.position;
    reached_cursor := r.cursor_id;
    if r.is_open or r.settled_at is null then
      continue when r.is_open and r.settled_at is null;
      update replayed_letters l set settled_at = case when r.is_open then null else clock_timestamp() end
        where l.position = r.position and l.cursor_id = r.cursor_id;
    else
      -- It may have been put back once more since.
      delete from replayed_letters l
        where l.position = r.position and l.cursor_id = r.cursor_id and l.settled_at < clock_timestamp() - p_grace;
    end if;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION saga_claim(p_owner uuid, p_names text[], p_versions integer[], p_limit integer)
 RETURNS SETOF sagas
 LANGUAGE plpgsql
AS $function$
declare
  -- A value, which an index can be asked for.
  now_at constant timestamptz := clock_timestamp();
  known record;
  wanted int := p_limit;
  taken int;
begin
  -- In the order of the index, however many are due, and whatever the planner knew when there were few.
  perform set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true);
  -- By chance, so that none has to wait behind the others for ever.
  for known in select n.name, n.version from unnest(p_names, p_versions) n(name, version) order by random() loop
    exit when wanted <= 0;
    return query
      with due as (
        select s.number from sagas s
        where s.saga = known.name and s.due_at <= now_at and s.owner is null and s.version <= known.version
        order by s.due_at limit wanted
        for no key update skip locked
      )
      update sagas s set owner = p_owner, epoch = s.epoch + 1, due_at = null
      from due where s.number = due.number
      returning s.*;
    get diagnostics taken = row_count;
    wanted := wanted - taken;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION saga_emit(p_sagas integer[], e_saga integer[], e_own boolean[], e_version integer[], e_stream text, e_type text, e_data text, e_id text, e_correlation text, e_partition_key text, e_attributes text)
 RETURNS void
 LANGUAGE sql
AS $function$
  insert into outbox (stream, type, data, event_id, schema_version, correlation_id, partition_key, attributes, own)
    select e.stream, e.type, e.data::json, e.id, e.version, e.correlation_id, e.partition_key, e.attributes::jsonb, e.own
    from unnest(
      e_saga, e_own, e_version, string_to_array(e_stream, E'\x1e'), string_to_array(e_type, E'\x1e'),
      string_to_array(e_data, E'\x1e', E'\x1f'), string_to_array(e_id, E'\x1e', E'\x1f'),
      string_to_array(e_correlation, E'\x1e', E'\x1f'), string_to_array(e_partition_key, E'\x1e', E'\x1f'),
      string_to_array(e_attributes, E'\x1e')
    ) with ordinality e(saga, own, version, stream, type, data, id, correlation_id, partition_key, attributes, n)
    where e.saga = any(p_sagas)
    order by e.n;
$function$;

CREATE OR REPLACE FUNCTION saga_flag(p_id uuid, p_action text, p_type text, p_data json)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  s sagas;
begin
  select * into s from sagas g where g.id = p_id for no key update;
  if not found then
    return 'missing';
  elsif s.ended_at is not null then
    return 'ended';
  elsif p_action = 'pause' and s.paused or p_action = 'resume' and not s.paused
    or p_action = 'cancel' and (s.cancel_requested or s.state = 'Compensating')
  then
    return 'unchanged';
  end if;
  s.paused := case p_action when 'pause' then true when 'resume' then false else s.paused end;
  update sagas g
    set paused = s.paused, cancel_requested = g.cancel_requested or p_action = 'cancel', updated_at = clock_timestamp(),
        due_at = case when s.paused then null else clock_timestamp() end
    where g.number = s.number;
  insert into outbox (stream, type, data, correlation_id, partition_key, attributes, own)
    values ('saga-' || s.saga, p_type, p_data, s.correlation_id, p_id::text, jsonb_build_object('subject', p_id), true);
  return 'changed';
end $function$;

CREATE OR REPLACE FUNCTION saga_free(p_owner uuid, p_in_hand uuid[])
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  freed int;
begin
  with recursive owners as (
    (select s.owner from sagas s where s.owner is not null order by s.owner limit 1)
    union all
    select (select s.owner from sagas s where s.owner > o.owner order by s.owner limit 1) from owners o where o.owner is not null
  ), dead as (
    select o.owner from owners o
    where o.owner is not null
      and (o.owner = p_owner
        or not exists (select 1 from leases l where l.name = 'sagas:' || o.owner and l.until > clock_timestamp()))
  ), theirs as (
    select s.number from dead cross join lateral (
      select m.number from sagas m where m.owner = dead.owner and (m.owner is distinct from p_owner or m.id <> all(p_in_hand))
      for no key update skip locked) s
  )
  update sagas s
    set owner = null, due_at = case when s.paused then null else clock_timestamp() end,
        lost = s.lost + case when s.owner = p_owner then 0 else 1 end
    from theirs where s.number = theirs.number;
  get diagnostics freed = row_count;
  return freed;
end $function$;

CREATE OR REPLACE FUNCTION saga_record(p_owner uuid, p_ids uuid[], p_epochs bigint[], p_turns bigint[], p_flags integer[], p_versions integer[], p_rest_ms double precision[], p_states text, p_waiting text, p_steps text, p_progress text, p_data text, e_saga integer[], e_own boolean[], e_version integer[], e_stream text, e_type text, e_data text, e_id text, e_correlation text, e_partition_key text, e_attributes text)
 RETURNS integer[]
 LANGUAGE plpgsql
AS $function$
declare
  outcomes int[];
begin
  -- Locked in one order by all, or two batches could wait for one another.
  perform 1 from sagas s where s.id = any(p_ids) order by s.id for no key update;
  outcomes := array(
    select case
      when s.id is null then 2
      when s.owner is distinct from p_owner or s.epoch <> r.epoch or s.turn not in (r.turn, r.turn + 1) then 2
      when s.turn = r.turn + 1 then 1
      when s.paused::int + 2 * s.cancel_requested::int <> r.flags then 4 + s.paused::int + 2 * s.cancel_requested::int
      else 0 end
    from unnest(p_ids, p_epochs, p_turns, p_flags) with ordinality r(id, epoch, turn, flags, n)
      left join sagas s on s.id = r.id
    order by r.n);
  update sagas s
    set state = r.state, turn = r.turn + 1, lost = 0, version = r.version, waiting_type = r.waiting,
        waiting_by = r.waiting_by, waiting_key = r.waiting_key,
        steps = string_to_array(r.steps, ','), progress = r.progress::json, data = coalesce(r.data::json, s.data),
        updated_at = clock_timestamp(),
        owner = case when r.rest_ms is null then s.owner end,
        -- Whoever could not wait until the owner has given it up has left a time.
        due_at = case
          when r.rest_ms is null or r.ended or s.paused then null
          when r.rest_ms < 0 then s.due_at
          else least(s.due_at, clock_timestamp() + r.rest_ms * interval '1 millisecond') end,
        ended_at = case when r.ended then clock_timestamp() end
    from (
      select r.*, r.state in ('Completed', 'Compensated', 'Failed') as ended,
             split_part(r.awaited, E'\x1d', 1) as waiting, nullif(split_part(r.awaited, E'\x1d', 2), '') as waiting_by,
             nullif(split_part(r.awaited, E'\x1d', 3), '') as waiting_key
      from unnest(
        p_ids, p_turns, p_versions, p_rest_ms, string_to_array(p_states, E'\x1e'), string_to_array(p_waiting, E'\x1e', E'\x1f'),
        string_to_array(p_steps, E'\x1e'), string_to_array(p_progress, E'\x1e'), string_to_array(p_data, E'\x1e', E'\x1f'),
        outcomes
      ) r(id, turn, version, rest_ms, state, awaited, steps, progress, data, outcome)
    ) r
    where s.id = r.id and r.outcome = 0;
  perform saga_emit(
    array(select u.n::int from unnest(outcomes) with ordinality u(outcome, n) where u.outcome = 0),
    e_saga, e_own, e_version, e_stream, e_type, e_data, e_id, e_correlation, e_partition_key, e_attributes);
  return outcomes;
end $function$;

CREATE OR REPLACE FUNCTION saga_start(p_owner uuid, p_ids uuid[], p_run boolean[], p_versions integer[], p_hashes uuid[], p_sagas text, p_states text, p_correlations text, p_steps text, p_progress text, p_data text, e_saga integer[], e_own boolean[], e_version integer[], e_stream text, e_type text, e_data text, e_id text, e_correlation text, e_partition_key text, e_attributes text)
 RETURNS integer[]
 LANGUAGE plpgsql
AS $function$
declare
  started uuid[];
begin
  with new as (
    insert into sagas as s (id, saga, version, correlation_id, state, owner, epoch, due_at, steps, progress, data, request_hash)
      select n.id, n.saga, n.version, n.correlation_id, n.state, case when n.run then p_owner end, 1,
             case when not n.run then clock_timestamp() end, string_to_array(n.steps, ','), n.progress::json, n.data::json, n.hash
      from unnest(
        p_ids, p_run, p_versions, p_hashes, string_to_array(p_sagas, E'\x1e'), string_to_array(p_states, E'\x1e'),
        string_to_array(p_correlations, E'\x1e'), string_to_array(p_steps, E'\x1e'), string_to_array(p_progress, E'\x1e'),
        string_to_array(p_data, E'\x1e')
      ) with ordinality n(id, run, version, hash, saga, state, correlation_id, steps, progress, data, n)
      order by n.id
      on conflict (id) do nothing
      returning s.id
  )
  select coalesce(array_agg(new.id), '{}') into started from new;
  perform saga_emit(
    array(select u.n::int from unnest(p_ids) with ordinality u(id, n) where u.id = any(started)),
    e_saga, e_own, e_version, e_stream, e_type, e_data, e_id, e_correlation, e_partition_key, e_attributes);
  return array(
    select case
      when u.id = any(started) then 0
      when (select s.request_hash from sagas s where s.id = u.id) is not distinct from u.hash then 1
      else 2 end
    from unnest(p_ids, p_hashes) with ordinality u(id, hash, n) order by u.n);
end $function$;

CREATE OR REPLACE FUNCTION saga_watch(p_lease text, p_owner uuid, p_epoch bigint, p_after bigint, p_up_to bigint, p_save boolean, OUT reached bigint, OUT woken integer)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  types text[];
  -- Of them, those that some saga waits for by something else than its correlation.
  matched_types text[];
  ids uuid[];
begin
  perform lease_check(p_lease, p_owner, p_epoch);
  with recursive waiting as (
    (select s.waiting_type as type from sagas s where s.waiting_type is not null order by s.waiting_type limit 1)
    union all
    select (select s.waiting_type from sagas s where s.waiting_type > w.type order by s.waiting_type limit 1)
    from waiting w where w.type is not null
  )
  select coalesce(array_agg(w.type), '{}') into types from waiting w where w.type is not null;
  reached := p_up_to;
  woken := 0;
  if cardinality(types) > 0 then
    -- A piece at a time, however far it is behind.
    reached := least(p_up_to, p_after + 20000);
    ids := array(
      select w.id
      from (
        select distinct e.type, e.correlation_id from events e
        where e.position > p_after and e.position <= reached and e.type = any(types)
          and e.correlation_id is not null and not e.ephemeral
      ) e join sagas w on w.waiting_type = e.type and w.correlation_id = e.correlation_id and w.waiting_by is null);
    matched_types := array(
      select t.type from unnest(types) t(type)
      where exists (select from sagas s where s.waiting_type = t.type and s.waiting_by is not null));
    if cardinality(matched_types) > 0 then
      ids := ids || array(
        select w.id
        from (
          select distinct e.type, m.by, m.key collate "C" as key
          from events e join streams st on st.id = e.stream_id
            cross join lateral (values
              ('stream', st.name), ('subject', e.attributes ->> 'subject'), ('partition-key', e.partition_key)) m(by, key)
          where e.position > p_after and e.position <= reached and e.type = any(matched_types)
            and not e.ephemeral and m.key is not null
        ) e join sagas w on w.waiting_type = e.type and w.waiting_by = e.by and w.waiting_key = e.key);
    end if;
    -- Locked in one order by all that lock several.
    with found as materialized (
      select s.number from sagas s where s.id = any(ids) and not s.paused order by s.id for no key update
    )
    update sagas s set due_at = clock_timestamp() from found
      where s.number = found.number and s.waiting_type is not null and not s.paused;
    get diagnostics woken = row_count;
  end if;
  if p_save or woken > 0 then
    update saga_watch w set position = reached where w.position < reached;
  end if;
end $function$;

CREATE OR REPLACE FUNCTION sagas_forget(p_window interval, p_limit integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  before constant timestamptz := clock_timestamp() - p_window;
  forgotten int;
begin
  delete from leases l where l.name like 'sagas:%' and l.until < clock_timestamp() - interval '1 day';
  delete from sagas s where s.number in (
    select g.number from sagas g
    where g.ended_at < before and g.state <> 'Failed'
    order by g.ended_at limit p_limit for update skip locked);
  get diagnostics forgotten = row_count;
  return forgotten;
end $function$;

CREATE OR REPLACE FUNCTION schema_configure(p_type text, p_compatibility text, p_by text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  current_revision bigint := schema_registry_lock();
begin
  if (select t.compatibility from schema_types t where t.type = p_type) = p_compatibility then return; end if;
  perform schema_touch(p_type, current_revision);
  update schema_types t set compatibility = p_compatibility where t.type = p_type;
  insert into schema_changes (type, version, change, detail, changed_by, changed_at)
    values (p_type, null, 'compatibility', to_json(p_compatibility), p_by, date_trunc('milliseconds', clock_timestamp()));
end $function$;

CREATE OR REPLACE FUNCTION schema_delete(p_type text, p_version integer, p_by text)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  current_revision bigint := schema_registry_lock();
begin
  if not exists (select from schema_versions v where v.type = p_type and v.version = p_version) then return 'not-found'; end if;
  if exists (select from schema_versions v where v.type = p_type and v.version > p_version) then return 'older'; end if;
  if exists (select from subscriptions s where s.deleted_at is null and s.receive_as -> 'versions' ->> p_type = p_version::text) then
    return 'received';
  end if;
  delete from schema_versions v where v.type = p_type and v.version = p_version;
  perform schema_touch(p_type, current_revision);
  insert into schema_changes (type, version, change, changed_by, changed_at)
    values (p_type, p_version, 'deleted', p_by, date_trunc('milliseconds', clock_timestamp()));
  return 'deleted';
end $function$;

CREATE OR REPLACE FUNCTION schema_register(p_type text, p_version integer, p_schema text, p_content_hash uuid, p_description text, p_upcast_language text, p_upcast_expression text, p_reads_previous boolean, p_by text, p_compatibility text, p_previous_hash uuid, OUT outcome text, OUT latest integer)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  current_revision bigint := schema_registry_lock();
  now_at timestamptz := date_trunc('milliseconds', clock_timestamp());
  before schema_versions;
  language text := nullif(p_upcast_language, 'none');
begin
  select coalesce(max(v.version), 0) into latest from schema_versions v where v.type = p_type;
  if coalesce((select t.compatibility from schema_types t where t.type = p_type), 'backward') <> p_compatibility
     or (select v.content_hash from schema_versions v where v.type = p_type and v.version = p_version - 1) is distinct from p_previous_hash then
    outcome := 'stale';
    return;
  end if;
  select * into before from schema_versions v where v.type = p_type and v.version = p_version;
  if not found then
    if p_version <> latest + 1 then
      outcome := 'gap';
      return;
    end if;
    if language in ('keep', 'keep-expression') then language := null; end if;
    outcome := 'created';
    latest := p_version;
    perform schema_touch(p_type, current_revision);
    insert into schema_versions (type, version, schema, content_hash, description, upcast_language, upcast_expression, reads_previous,
                                 registered_at, registered_by)
      values (p_type, p_version, p_schema::json, p_content_hash, p_description, language, p_upcast_expression, p_reads_previous, now_at, p_by);
    insert into schema_changes (type, version, change, detail, changed_by, changed_at)
      values (p_type, p_version, 'registered',
              json_build_object('description', p_description, 'upcast', schema_upcast(language, p_upcast_expression)), p_by, now_at);
    return;
  end if;
  if before.content_hash <> p_content_hash then
    outcome := 'conflict';
    return;
  end if;
  if language = 'keep' or (language = 'keep-expression' and before.upcast_language = 'jsonata') then
    language := before.upcast_language;
    p_upcast_expression := before.upcast_expression;
  end if;
  language := nullif(language, 'keep-expression');
  outcome := 'unchanged';
  if (before.upcast_language, before.upcast_expression) is distinct from (language, p_upcast_expression) then
    outcome := 'changed';
    insert into schema_changes (type, version, change, detail, changed_by, changed_at)
      values (p_type, p_version, 'upcaster', schema_upcast(language, p_upcast_expression), p_by, now_at);
  end if;
  if before.description is distinct from p_description then
    outcome := 'changed';
    insert into schema_changes (type, version, change, detail, changed_by, changed_at)
      values (p_type, p_version, 'description', to_json(p_description), p_by, now_at);
  end if;
  if outcome = 'changed' then
    perform schema_touch(p_type, current_revision);
    update schema_versions v set description = p_description, upcast_language = language, upcast_expression = p_upcast_expression
      where v.type = p_type and v.version = p_version;
  end if;
end $function$;

CREATE OR REPLACE FUNCTION schema_registry_lock()
 RETURNS bigint
 LANGUAGE sql
AS $function$
  select r.revision + 1 from schema_registry r for update
$function$;

CREATE OR REPLACE FUNCTION schema_touch(p_type text, p_revision bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  update schema_registry r set revision = p_revision;
  insert into schema_types (type, revision) values (p_type, p_revision)
    on conflict (type) do update set revision = excluded.revision;
end $function$;

CREATE OR REPLACE FUNCTION schema_upcast(p_language text, p_expression text)
 RETURNS json
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select case p_language
    when 'jsonata' then json_build_object('language', 'jsonata', 'expression', p_expression)
    when 'code' then json_build_object('language', 'code')
  end
$function$;

CREATE OR REPLACE FUNCTION snapshot_put(p_stream text, p_owner text, p_offset bigint, p_position bigint, p_state text, p_binary bytea, p_content_type text, p_tag text, OUT outcome text, OUT known bigint, OUT log_id uuid, OUT recorded timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  s record;
  held bigint;
begin
  if p_owner <> '' then perform set_config('synchronous_commit', 'off', true); end if;
  perform from streams st where st.name = p_stream and not st.internal for key share;
  select h.id, h.last_offset, h.log_id, h.created_at, st.born_offset into s
    from stream_heads h join streams st using (id) where h.name = p_stream and not h.internal;
  if s.created_at is null then
    outcome := 'not-found';
    return;
  end if;
  log_id := s.log_id;
  if p_offset > s.last_offset then
    outcome := 'beyond-head';
    known := s.last_offset;
    return;
  end if;
  if p_offset < s.born_offset then
    outcome := 'outdated';
    known := s.born_offset - 1;
    return;
  end if;
  recorded := date_trunc('milliseconds', clock_timestamp());
  insert into snapshots as n (stream_id, owner, "offset", position, state, state_binary, content_type, tag, recorded_at)
    values (s.id, p_owner, p_offset, coalesce(p_position, p_offset), p_state::json, p_binary, p_content_type, p_tag, recorded)
    on conflict (stream_id, owner) do nothing;
  if found then
    outcome := 'created';
    return;
  end if;
  select n."offset" into held from snapshots n where n.stream_id = s.id and n.owner = p_owner for update;
  if held > p_offset then
    outcome := 'outdated';
    known := held;
    return;
  end if;
  update snapshots n
    set "offset" = p_offset, position = coalesce(p_position, p_offset), state = p_state::json, state_binary = p_binary,
        content_type = p_content_type, tag = p_tag, recorded_at = recorded
    where n.stream_id = s.id and n.owner = p_owner;
  outcome := 'replaced';
end $function$;

CREATE OR REPLACE FUNCTION stream_configure(p_name text, p_ephemeral boolean, p_delivery text, p_replay boolean, p_max_age_ms bigint, p_max_bytes bigint, p_max_events bigint, p_visibility_timeout_ms integer, p_max_attempts integer, p_backoff_initial_ms integer, p_backoff_factor double precision, p_backoff_max_ms integer, p_validation integer DEFAULT 0, p_nats json DEFAULT NULL::json)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  s streams;
  inserted boolean;
  given cross_service_streams;
begin
  -- A row without an event may be removed between the two.
  loop
    insert into streams (name) values (p_name) on conflict (name) do nothing;
    inserted := found;
    select * into s from streams st where st.name = p_name for no key update;
    exit when found;
  end loop;
  if s.created_at is not null and s.ephemeral <> p_ephemeral then return 'type-fixed'; end if;
  -- One that is not there has the delivery of a new one, which subscriptions of it go by. Its queue follows it.
  if delivery_strength(p_delivery) < delivery_strength(s.delivery) then
    perform delivery_bound_lock(array[p_name], true);
    if exists (select from subscription_streams t join subscriptions sub on sub.id = t.subscription_id
               where t.stream = p_name and sub.queue_of is null and sub.deleted_at is null
                 and delivery_strength(sub.delivery) > delivery_strength(p_delivery)) then
      -- A stream that was not there leaves no row behind.
      delete from streams st where st.id = s.id and inserted;
      return 'delivery-in-use';
    end if;
  end if;
  if p_nats is null then
    delete from cross_service_streams c where c.stream_id = s.id;
  else
    -- Two that would take overlapping subjects come one after the other.
    lock table cross_service_streams in share row exclusive mode;
    given := json_populate_record(null::cross_service_streams, p_nats);
    if exists (select from cross_service_streams c where c.stream_id <> s.id
               and (c.nats_stream = given.nats_stream or nats_subjects_overlap(c.nats_subject, given.nats_subject))) then
      delete from streams st where st.id = s.id and inserted;
      return 'nats-name-taken';
    end if;
    delete from cross_service_streams c where c.stream_id = s.id;
    given.stream_id := s.id;
    insert into cross_service_streams select given.*;
  end if;
  update streams st
    set created_at = coalesce(st.created_at, date_trunc('milliseconds', clock_timestamp())), revision = st.revision + 1,
        ephemeral = p_ephemeral, delivery = p_delivery, replay = p_replay,
        max_age_ms = p_max_age_ms, max_bytes = p_max_bytes, max_events = p_max_events,
        visibility_timeout_ms = p_visibility_timeout_ms, max_attempts = p_max_attempts,
        backoff_initial_ms = p_backoff_initial_ms, backoff_factor = p_backoff_factor, backoff_max_ms = p_backoff_max_ms,
        validation = p_validation
    where st.id = s.id;
  return case when s.created_at is null then 'created' else 'configured' end;
end $function$;

CREATE OR REPLACE FUNCTION stream_delete(p_name text)
 RETURNS TABLE(first_offset bigint, last_offset bigint, "position" bigint)
 LANGUAGE plpgsql
AS $function$
declare
  head record;
begin
  -- Stronger than an append's lock: a snapshot that is being saved is waited for, and goes too.
  perform from streams s where s.name = p_name and not s.internal for update;
  select h.*, s.first_bytes into head from stream_heads h join streams s using (id)
    where h.name = p_name and h.created_at is not null and not h.internal;
  if not found then return; end if;
  first_offset := head.first_offset;
  last_offset := head.last_offset;
  update streams s
    set created_at = null, revision = s.revision + 1, ephemeral = false, delivery = default, replay = true,
        max_age_ms = null, max_bytes = null, max_events = null, visibility_timeout_ms = default, max_attempts = default,
        backoff_initial_ms = default, backoff_factor = default, backoff_max_ms = default, validation = default,
        first_offset = head.last_offset + 1, born_offset = head.last_offset + 1,
        first_bytes = head.bytes + head.first_bytes, checkpoint_offset = head.last_offset,
        checkpoint_bytes = head.bytes + head.first_bytes, checkpoint_position = head.last_position
    where s.id = head.id;
  if head.last_offset >= 0 then
    insert into stream_purges (stream_id, from_offset, to_offset)
      values (head.id, head.first_offset, head.last_offset + 1)
      on conflict (stream_id) do update set to_offset = excluded.to_offset;
    insert into event_id_horizons (trimmed_before, stream_id, below_offset)
      values ('-infinity', head.id, head.last_offset + 1)
      on conflict (trimmed_before, stream_id) do update set below_offset = excluded.below_offset;
  end if;
  delete from snapshots n where n.stream_id = head.id;
  -- Its names in NATS are free again. The cursor stays: offsets go on, and so does what is published of them.
  delete from cross_service_streams c where c.stream_id = head.id;
  delete from bridge_states b where b.stream_id = head.id;
  perform subscription_retire(s.id) from subscriptions s where s.queue_of = p_name;
  "position" := log_control('sluice.stream-deleted',
    json_build_object('stream', p_name, 'from', head.first_offset::text, 'to', head.last_offset::text));
  insert into stream_deletions (position, stream) values ("position", p_name);
  return next;
end $function$;

CREATE OR REPLACE FUNCTION stream_event_from(p_stream_id bigint, p_ephemeral boolean, p_position bigint, OUT "offset" bigint, OUT "position" bigint, OUT bytes_before bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
  if p_ephemeral then
    select e."offset", e.position, e.stream_bytes - e.bytes into "offset", "position", bytes_before
      from events_ephemeral e where e.stream_id = p_stream_id and e.position >= p_position order by e.position limit 1;
  else
    select e."offset", e.position, e.stream_bytes - e.bytes into "offset", "position", bytes_before
      from events_persistent e where e.stream_id = p_stream_id and e.position >= p_position order by e.position limit 1;
  end if;
end $function$;

CREATE OR REPLACE FUNCTION stream_forget_unborn(p_limit integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  gone int;
begin
  -- An array, because a subquery that locks is run once for that, but as often as the planner likes within a join.
  delete from streams where id = any(array(
    select s.id from streams s
    where s.created_at is null and s.born_offset = 0 and not s.internal
    order by s.id limit p_limit for no key update skip locked));
  get diagnostics gone = row_count;
  return gone;
end $function$;

CREATE OR REPLACE FUNCTION stream_offset_by_bytes(p_stream_id bigint, p_ephemeral boolean, p_bytes bigint, p_last_position bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  low bigint := 0;
  high bigint := p_last_position + 1;
  middle bigint;
  e record;
begin
  while low < high loop
    middle := (low + high) / 2;
    select * into e from stream_event_from(p_stream_id, p_ephemeral, middle);
    if e.position is null or e.bytes_before >= p_bytes then
      high := middle;
    else
      low := e.position + 1;
    end if;
  end loop;
  select * into e from stream_event_from(p_stream_id, p_ephemeral, low);
  return e."offset";
end $function$;

CREATE OR REPLACE FUNCTION stream_purge(p_after bigint, p_limit integer, OUT gone integer, OUT reached bigint)
 RETURNS record
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
  p record;
  done_ids bigint[] := '{}';
  done_offsets bigint[] := '{}';
  first_row record;
  last_row record;
  upto bigint;
  removed int;
begin
  gone := 0;
  if not pg_try_advisory_xact_lock(log_lock() + 2) then return; end if;
  -- A purge that is lost in a crash is done again.
  perform set_config('synchronous_commit', 'off', true);
  for p in
    select q.stream_id, q.from_offset, q.to_offset from stream_purges q
    where q.stream_id > p_after order by q.stream_id limit 200
  loop
    exit when gone >= p_limit;
    reached := p.stream_id;
    -- What left with its partition is not there any more. An offset never exceeds its event's position.
    select e."offset", e.position into first_row from events e
      where e.stream_id = p.stream_id and e."offset" >= p.from_offset and e."offset" < p.to_offset and e.position >= p.from_offset
      order by e."offset" limit 1;
    upto := p.to_offset;
    if first_row."offset" is not null then
      upto := least(upto, first_row."offset" + p_limit - gone);
      select e.position into last_row from events e
        where e.stream_id = p.stream_id and e."offset" >= first_row."offset" and e."offset" < upto and e.position >= first_row.position
        order by e."offset" desc limit 1;
      delete from events e
        where e.stream_id = p.stream_id and e."offset" >= first_row."offset" and e."offset" < upto
          and e.position between first_row.position and last_row.position;
      get diagnostics removed = row_count;
      gone := gone + removed;
    end if;
    done_ids := done_ids || p.stream_id;
    done_offsets := done_offsets || upto;
  end loop;
  -- In the order in which a trim writes them.
  perform from stream_purges q where q.stream_id = any(done_ids) order by q.stream_id for update;
  update stream_purges q set from_offset = d.upto
    from unnest(done_ids, done_offsets) as d(id, upto) where q.stream_id = d.id;
  -- It may have been trimmed further meanwhile.
  delete from stream_purges q where q.stream_id = any(done_ids) and q.from_offset >= q.to_offset;
end $function$;

CREATE OR REPLACE FUNCTION streams_to_trim(p_after bigint, p_limit integer, p_found integer, OUT reached bigint, OUT ids bigint[], OUT revisions integer[], OUT offsets bigint[], OUT bytes bigint[], OUT last_positions bigint[], OUT floors bigint[])
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
declare
  s record;
  ages bigint[] := '{}';
  cutoffs bigint[] := '{}';
  cutoff bigint;
  checkpoint bigint;
  head bigint;
  floor bigint;
  due bigint;
  settled bigint;
  is_settled boolean;
begin
  ids := '{}'; revisions := '{}'; offsets := '{}'; bytes := '{}'; last_positions := '{}'; floors := '{}';
  select l.checkpoint_position into checkpoint from log l;
  for s in
    select st.id, st.revision, st.ephemeral, st.max_age_ms, st.max_bytes, st.max_events, st.first_offset, st.first_bytes,
           coalesce(e."offset", st.checkpoint_offset) as last_offset,
           coalesce(e.position, st.checkpoint_position) as last_position,
           coalesce(e.stream_bytes, st.checkpoint_bytes) as last_bytes
    from streams st
      left join lateral (
        select ev."offset", ev.position, ev.stream_bytes from events ev
        where ev.stream_id = st.id and ev.position >= checkpoint
        order by ev."offset" desc limit 1
      ) e on true
    where st.id > p_after
      and (st.ephemeral or st.max_age_ms is not null or st.max_bytes is not null or st.max_events is not null)
    order by st.id limit p_limit
  loop
    reached := s.id;
    continue when s.last_offset < s.first_offset;
    due := s.first_offset;
    is_settled := false;

    if s.max_events is not null then
      due := greatest(due, s.last_offset - s.max_events + 1);
    end if;

    if s.max_bytes is not null and s.last_bytes - s.first_bytes > s.max_bytes then
      due := greatest(due, coalesce(
        stream_offset_by_bytes(s.id, s.ephemeral, s.last_bytes - s.max_bytes, s.last_position), s.last_offset + 1));
    end if;

    if s.max_age_ms is not null then
      -- Few ages are in use: each is looked up once.
      cutoff := cutoffs[array_position(ages, s.max_age_ms)];
      if cutoff is null then
        head := coalesce(head, (select e.position from events e where e.position >= checkpoint order by e.position desc limit 1));
        cutoff := log_position_at(clock_timestamp() - s.max_age_ms * interval '1 millisecond', head);
        ages := ages || s.max_age_ms;
        cutoffs := cutoffs || cutoff;
      end if;
      if s.last_position < cutoff then
        due := s.last_offset + 1;
      else
        due := greatest(due, (select e."offset" from stream_event_from(s.id, s.ephemeral, cutoff) e));
      end if;
    end if;

    if s.ephemeral and due <= s.last_offset then
      floor := ephemeral_floor(s.id);
      if floor is not null then
        settled := case when s.last_position < floor then s.last_offset + 1
                        else (select e."offset" from stream_event_from(s.id, true, floor) e) end;
        is_settled := settled > due;
        due := greatest(due, settled);
      end if;
    end if;

    continue when due = s.first_offset;
    ids := ids || s.id;
    revisions := revisions || s.revision;
    offsets := offsets || due;
    floors := floors || case when is_settled then floor end;
    if due > s.last_offset then
      last_positions := last_positions || s.last_position::bigint;
      bytes := bytes || s.last_bytes::bigint;
    else
      last_positions := last_positions || null::bigint;
      -- An offset lies as far before the last one as its position does, or nearer: that spares other partitions.
      bytes := bytes || (
        select e.stream_bytes - e.bytes from events e
        where e.stream_id = s.id and e."offset" = due
          and e.position >= due and e.position <= s.last_position - (s.last_offset - due));
    end if;
    exit when cardinality(ids) >= p_found;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION streams_trim(p_ids bigint[], p_revisions integer[], p_offsets bigint[], p_bytes bigint[], p_last_positions bigint[], p_floors bigint[], p_period interval, OUT trimmed bigint, OUT "position" bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
  names text[];
  due_ids bigint[]; due_from bigint[]; due_to bigint[]; due_bytes bigint[]; due_last bigint[];
begin
  perform from streams s where s.id = any(p_ids) order by s.name for no key update;
  select array_agg(s.name order by s.name), array_agg(s.id order by s.name), array_agg(s.first_offset order by s.name),
         array_agg(t.to_offset order by s.name), array_agg(t.bytes order by s.name), array_agg(t.last_position order by s.name),
         coalesce(sum(t.to_offset - s.first_offset), 0)
    into names, due_ids, due_from, due_to, due_bytes, due_last, trimmed
    from unnest(p_ids, p_revisions, p_offsets, p_bytes, p_last_positions, p_floors)
           as t(id, revision, to_offset, bytes, last_position, floor)
      join streams s on s.id = t.id and s.revision = t.revision and s.first_offset < t.to_offset
    where t.floor is null or ephemeral_floor(s.id) >= t.floor;
  if due_ids is null then return; end if;

  -- Of a stream without a visible event the end is noted: its rows may go before the checkpoint comes to them.
  update streams s
    set first_offset = d.to_offset, first_bytes = d.bytes,
        checkpoint_offset = case when d.is_end then d.to_offset - 1 else s.checkpoint_offset end,
        checkpoint_bytes = case when d.is_end then d.bytes else s.checkpoint_bytes end,
        checkpoint_position = case when d.is_end then d.last_position else s.checkpoint_position end
    from (
      select u.id, u.to_offset, u.bytes, u.last_position,
             u.last_position is not null and st.checkpoint_offset < u.to_offset - 1 as is_end
      from unnest(due_ids, due_to, due_bytes, due_last) as u(id, to_offset, bytes, last_position)
        join streams st on st.id = u.id
    ) d
    where s.id = d.id;

  insert into stream_purges (stream_id, from_offset, to_offset)
    select * from unnest(due_ids, due_from, due_to) as u(id, from_offset, to_offset) order by u.id
    on conflict (stream_id) do update set to_offset = excluded.to_offset;
  insert into event_id_horizons (trimmed_before, stream_id, below_offset)
    select date_bin(p_period, clock_timestamp(), 'epoch') + p_period, u.id, u.to_offset
    from unnest(due_ids, due_to) as u(id, to_offset)
    on conflict (trimmed_before, stream_id) do update set below_offset = excluded.below_offset;

  "position" := log_control('sluice.streams-trimmed', json_build_object('streams', (
    select json_agg(json_build_object('stream', u.name, 'from', u.from_offset::text, 'to', (u.to_offset - 1)::text) order by u.name)
    from unnest(names, due_from, due_to) as u(name, from_offset, to_offset))));
end $function$;

CREATE OR REPLACE FUNCTION subscription_backlog(p_subscription bigint, p_after bigint, p_limit integer, OUT events bigint, OUT is_least boolean, OUT first_at timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
declare
  s subscriptions;
  stream record;
  first_offset bigint;
  found_events bigint;
  found_at timestamptz;
  looked bigint;
begin
  events := 0;
  is_least := false;
  select sub.* into s from subscriptions sub where sub.id = p_subscription;
  if not found then return; end if;
  if exists (select from subscription_streams t where t.subscription_id = s.id and t.stream = '*') then
    select count(*) filter (where e.matches), min(e.recorded_at) filter (where e.matches), count(*) into events, first_at, looked
      from (
        select ev.recorded_at, (s.types is null or ev.type = any(s.types))
               and (s.path is null or coalesce(ev.data::jsonb @@ s.path::jsonpath, false)) as matches
        from events ev join streams st on st.id = ev.stream_id
        where ev.position > p_after and not ev.ephemeral and not st.internal and ev."offset" >= st.first_offset
        order by ev.position limit p_limit
      ) e;
    is_least := looked = p_limit;
    return;
  end if;
  if s.correlation is not null then
    select count(*) filter (where e.matches), min(e.recorded_at) filter (where e.matches), count(*) into events, first_at, looked
      from (
        select ev.recorded_at, (s.types is null or ev.type = any(s.types))
               and (s.path is null or coalesce(ev.data::jsonb @@ s.path::jsonpath, false)) as matches
        from events ev join streams st on st.id = ev.stream_id
        where ev.correlation_id = s.correlation and ev.position > p_after and not ev.ephemeral and not st.internal
          and ev."offset" >= st.first_offset
        order by ev.position limit p_limit
      ) e;
    is_least := looked = p_limit;
    return;
  end if;
  for stream in
    select h.id, h.ephemeral, h.first_offset, h.last_offset from subscription_streams t join stream_heads h on h.name = t.stream
    where t.subscription_id = s.id and h.last_position > p_after and h.last_offset >= h.first_offset
  loop
    -- What lies behind the last event up to the position: offsets have no gaps, so nothing needs counting.
    first_offset := greatest(stream.first_offset, (
      select e."offset" + 1 from events e where e.stream_id = stream.id and e.ephemeral = stream.ephemeral and e.position <= p_after
      order by e.position desc limit 1));
    if s.types is null and s.path is null then
      found_events := stream.last_offset - first_offset + 1;
      select e.recorded_at into found_at from events e
        where e.stream_id = stream.id and e.ephemeral = stream.ephemeral and e."offset" = first_offset and e.position > p_after limit 1;
    else
      select count(*) filter (where e.matches), min(e.recorded_at) filter (where e.matches) into found_events, found_at
        from (
          select ev.recorded_at, (s.types is null or ev.type = any(s.types))
                 and (s.path is null or coalesce(ev.data::jsonb @@ s.path::jsonpath, false)) as matches
          from events ev
          where ev.stream_id = stream.id and ev.ephemeral = stream.ephemeral and ev.position > p_after and ev."offset" >= first_offset
          order by ev.position limit p_limit
        ) e;
      is_least := is_least or stream.last_offset - first_offset + 1 > p_limit;
    end if;
    events := events + found_events;
    first_at := least(first_at, found_at);
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION subscription_clear(p_limit integer)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  gone_id bigint;
begin
  select s.id into gone_id from subscriptions s where s.deleted_at is not null order by s.id limit 1;
  if not found then return false; end if;
  delete from dead_letters l where l.id = any(array(
    select d.id from dead_letters d where d.subscription_id = gone_id order by d.id limit p_limit));
  if found then return true; end if;
  delete from consumers m where m.subscription_id = gone_id and m.name = any(array(
    select c.name from consumers c where c.subscription_id = gone_id order by c.name limit p_limit for update));
  if found then return true; end if;
  if cursors_clear(gone_id, 100, p_limit) then return true; end if;
  delete from subscriptions s where s.id = gone_id;
  return true;
end $function$;

CREATE OR REPLACE FUNCTION subscription_complete(p_subscription bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  is_completed boolean;
begin
  perform from subscriptions s where s.id = p_subscription and s.terminal is not null for no key update;
  if not found then return; end if;
  -- In a statement of its own: of two cursors that complete in the same moment, the second to come here sees both.
  select coalesce(bool_and(exists (
      select from cursor_ends e where e.cursor_id = c.id and e.completed_at is not null
        and e.position = (select n.place from cursor_next(c.id, clock_timestamp()) n))), false)
    into is_completed from subscription_cursors c where c.subscription_id = p_subscription;
  update subscriptions s set completed_at = case when is_completed then date_trunc('milliseconds', clock_timestamp()) end
    where s.id = p_subscription and (s.completed_at is not null) <> is_completed;
end $function$;

CREATE OR REPLACE FUNCTION subscription_configure(p_configuration json, p_streams text[], OUT outcome text)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  c subscriptions := json_populate_record(null::subscriptions, p_configuration);
  before subscriptions;
  asks_anew boolean := false;
begin
  perform from streams st where st.name = any(p_streams) and st.ephemeral order by st.name for no key update;
  if c.queue_of is null then
    perform delivery_bound_lock(p_streams, false);
    if exists (select from streams st where st.name = any(p_streams) and delivery_strength(st.delivery) < delivery_strength(c.delivery)) then
      outcome := 'stream-weaker';
      return;
    end if;
  end if;
  insert into subscriptions (
      name, mode, delivery, queue_of, correlation, types, path, start_place, start_position, visibility_timeout_ms, max_in_flight, max_attempts,
      backoff_initial_ms, backoff_factor, backoff_max_ms, max_consumers, consumer_timeout_ms, slots, on_failure, unread_timeout_ms,
      on_unread_expired, terminal, push, batch_interval_ms, expires_after_ms, metadata, receive_as)
    values (
      c.name, c.mode, c.delivery, c.queue_of, c.correlation, c.types, c.path, c.start_place, c.start_position, c.visibility_timeout_ms, c.max_in_flight,
      c.max_attempts, c.backoff_initial_ms, c.backoff_factor, c.backoff_max_ms, c.max_consumers, c.consumer_timeout_ms, c.slots, c.on_failure,
      c.unread_timeout_ms, c.on_unread_expired, c.terminal, c.push, c.batch_interval_ms, c.expires_after_ms, c.metadata,
      c.receive_as)
    on conflict (name) do nothing returning * into before;
  if found then
    outcome := 'created';
  else
    -- Where cursors may go, or their ends.
    perform subscription_lock(s.id) from subscriptions s
      where s.name = c.name and (s.mode <> c.mode or s.terminal is not null);
    select * into before from subscriptions s where s.name = c.name for no key update;
    outcome := 'changed';
    if before.mode = 'consumer-group' and c.mode = 'consumer-group' and before.slots <> c.slots then
      outcome := 'slots-fixed';
      return;
    end if;
    if before.mode <> c.mode then
      if exists (select from consumers m where m.subscription_id = before.id
                 and m.seen_at > clock_timestamp() - before.consumer_timeout_ms * interval '1 millisecond') then
        outcome := 'in-use';
        return;
      end if;
      -- Goes on from where the slowest of its cursors stands.
      select coalesce(min(cursor_floor(k.id)) - 1, before.start_position) into before.start_position
        from subscription_cursors k where k.subscription_id = before.id;
      perform cursors_remove(before.id, null);
      delete from consumers m where m.subscription_id = before.id;
    end if;
    asks_anew := (before.mode, before.correlation, before.types, before.path, before.terminal)
        is distinct from (c.mode, c.correlation, c.types, c.path, c.terminal)
      or (select array_agg(t.stream order by t.stream) from subscription_streams t where t.subscription_id = before.id)
        is distinct from (select array_agg(u.stream order by u.stream) from (select unnest(p_streams) collate "C") u(stream));
    update subscriptions s
      set mode = c.mode, delivery = c.delivery, correlation = c.correlation, types = c.types, path = c.path,
          start_position = before.start_position, visibility_timeout_ms = c.visibility_timeout_ms, max_in_flight = c.max_in_flight,
          max_attempts = c.max_attempts, backoff_initial_ms = c.backoff_initial_ms, backoff_factor = c.backoff_factor,
          backoff_max_ms = c.backoff_max_ms, max_consumers = c.max_consumers, consumer_timeout_ms = c.consumer_timeout_ms, slots = c.slots,
          on_failure = c.on_failure, unread_timeout_ms = c.unread_timeout_ms, on_unread_expired = c.on_unread_expired,
          terminal = c.terminal, push = c.push, batch_interval_ms = c.batch_interval_ms, expires_after_ms = c.expires_after_ms,
          metadata = c.metadata, receive_as = c.receive_as, revision = s.revision + 1, used_at = clock_timestamp(),
          completed_at = case when not asks_anew then s.completed_at end
      where s.id = before.id;
    if asks_anew then
      delete from cursor_ends e using subscription_cursors k where k.subscription_id = before.id and e.cursor_id = k.id;
    end if;
  end if;
  delete from subscription_streams t where t.subscription_id = before.id and t.stream <> all(coalesce(p_streams, '{}'));
  insert into subscription_streams (stream, subscription_id) select u.stream, before.id from unnest(p_streams) u(stream) on conflict do nothing;
  if c.mode in ('exclusive', 'consumer-group') then
    insert into subscription_cursors (subscription_id, consumer, start_position) values (before.id, '', before.start_position)
      on conflict (subscription_id, consumer) do nothing;
  end if;
end $function$;

CREATE OR REPLACE FUNCTION subscription_delete(p_name text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  gone_id bigint;
begin
  select s.id into gone_id from subscriptions s where s.name = p_name and s.queue_of is null for update;
  if not found then return false; end if;
  perform subscription_retire(gone_id);
  return true;
end $function$;

CREATE OR REPLACE FUNCTION subscription_lock(p_subscription bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  perform from consumers c where c.subscription_id = p_subscription order by c.name for update;
  perform from subscription_cursors c where c.subscription_id = p_subscription order by c.id for no key update;
  perform from subscriptions s where s.id = p_subscription for no key update;
end $function$;

CREATE OR REPLACE FUNCTION subscription_retire(p_subscription bigint)
 RETURNS void
 LANGUAGE sql
AS $function$
  delete from subscription_streams t where t.subscription_id = p_subscription;
  update subscriptions s
    set deleted_at = clock_timestamp(), name = '$deleted:' || s.id, queue_of = '$deleted:' || s.id, revision = s.revision + 1
    where s.id = p_subscription;
$function$;

CREATE OR REPLACE FUNCTION subscriptions_expire(p_limit integer)
 RETURNS SETOF text
 LANGUAGE plpgsql
AS $function$
declare
  unused record;
begin
  update subscriptions s set used_at = clock_timestamp()
    where s.expires_after_ms is not null and s.deleted_at is null
      and s.used_at < clock_timestamp() - least(s.expires_after_ms / 4, 60000) * interval '1 millisecond'
      and exists (select from consumers m where m.subscription_id = s.id);
  for unused in
    select s.id, s.name from subscriptions s
    where s.expires_after_ms is not null and s.deleted_at is null
      and s.used_at < clock_timestamp() - s.expires_after_ms * interval '1 millisecond'
    order by s.id limit p_limit for update skip locked
  loop
    -- Whoever joins locks the row first: what is a member by now is seen by this later statement.
    continue when exists (select from consumers m where m.subscription_id = unused.id);
    perform subscription_retire(unused.id);
    return next unused.name;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION unread_held(p_cursor bigint, p_after bigint, p_limit integer, OUT positions bigint[], OUT place bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  held record;
begin
  positions := '{}';
  select n.place into place from cursor_next(p_cursor, clock_timestamp()) n;
  for held in
    select d.positions[1] as first, d.positions as events from deliveries d where d.cursor_id = p_cursor and d.positions[1] > -1
    union all
    select r.positions[1], r.positions from receipts r where r.cursor_id = p_cursor and r.positions[1] > -1
    order by first
  loop
    -- Batches come in the order of their first events: beyond the last one wanted nothing more can belong here.
    exit when cardinality(positions) >= p_limit and held.first > positions[p_limit];
    continue when held.events[cardinality(held.events)] <= p_after;
    if held.first > p_after and (positions = '{}' or held.first > positions[cardinality(positions)]) then
      positions := positions || held.events;
    else
      positions := array(
        select u.position from unnest(positions || held.events) u(position) where u.position > p_after order by u.position limit p_limit);
    end if;
  end loop;
  positions := positions[1:p_limit];
end $function$;
