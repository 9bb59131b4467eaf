-- Answers of commands that bear an Idempotency-Key.

-- Written in the transaction that appends the command's events; offsets are theirs, in the order in which they were emitted.
create table command_answers (
  key text primary key,
  request_hash uuid not null,
  answer json not null,
  offsets bigint[] not null,
  recorded_at timestamptz not null
);
create index command_answers_recorded_at on command_answers (recorded_at);
