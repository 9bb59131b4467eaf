-- The outbox: events that services which share the database insert in their own transactions.

-- What can be told of a row by itself is told by a constraint, in the transaction that inserts it.
create table outbox (
  id bigint generated always as identity primary key,
  stream text collate "C" not null check (stream ~ '^[A-Za-z0-9._:-]{1,200}$' and stream not in ('.', '..')),
  type text collate "C" not null check (length(type) between 1 and 256 and type !~ '[\u0001-\u001f\u007f-\u009f]'),
  -- Text that is kept as it is; what jsonb refuses is refused here.
  data json check (data is null or data::jsonb is not null),
  data_binary bytea check (data is null or data_binary is null),
  event_id text check (length(event_id) between 1 and 256 and event_id !~ '[\u0001-\u001f\u007f-\u009f]'),
  schema_version int not null default 1 check (schema_version between 1 and 999999999),
  correlation_id text check (length(correlation_id) between 1 and 256 and correlation_id !~ '[\u0001-\u001f\u007f-\u009f]'),
  partition_key text check (length(partition_key) between 1 and 256 and partition_key !~ '[\u0001-\u001f\u007f-\u009f]'),
  -- The other attributes of CloudEvents, such as source, subject, time, causationid: none that has a column.
  attributes jsonb not null default '{}' check (
    jsonb_typeof(attributes) = 'object'
    and not attributes ?| array['specversion', 'id', 'type', 'schemaversion', 'correlationid', 'partitionkey', 'data', 'data_base64']),
  -- The service's own rows, the only ones whose types begin with sluice.; nobody else is granted this column.
  own boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  -- Why it cannot become an event; null while it waits.
  failure text,
  failed_at timestamptz,
  check (own or not starts_with(type, 'sluice.'))
)
-- Rows come and go: by its share of the rows the table would hardly ever be vacuumed.
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

create index outbox_failed on outbox (id) where failure is not null;
