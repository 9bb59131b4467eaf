-- The outbox: events that services which share the database insert in their own transactions.

create table outbox (
  id bigint generated always as identity primary key,
  stream text not null check (stream ~ '^[A-Za-z0-9._:-]{1,200}$' and stream not in ('.', '..')),
  type text not null check (type ~ '^[^\u0001-\u001f\u007f-\u009f]{1,256}$'),
  -- JSON that jsonb refuses is refused in the transaction that inserts it.
  data json check (data is null or data::jsonb is not null),
  data_binary bytea check (data is null or data_binary is null),
  event_id text check (length(event_id) between 1 and 256),
  schema_version int not null default 1 check (schema_version between 1 and 999999999),
  correlation_id text check (length(correlation_id) between 1 and 256),
  partition_key text check (length(partition_key) between 1 and 256),
  -- Other attributes of CloudEvents, such as source, subject, time, causationid.
  attributes json not null default '{}' check (json_typeof(attributes) = 'object'),
  created_at timestamptz not null default clock_timestamp(),
  -- Why it cannot become an event; null while it waits.
  failure text,
  failed_at timestamptz
);
