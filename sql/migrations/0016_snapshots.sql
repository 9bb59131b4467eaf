-- Snapshots: the state of a stream at an offset.

create table snapshots (
  stream_id bigint not null,
  -- Empty: what clients put; decider:{name}: what the decider of that name keeps.
  owner text collate "C" not null,
  -- Everything up to and including the event at this offset is in the state. One below the stream's born_offset is void.
  "offset" bigint not null check ("offset" >= 0),
  -- Of that event, or any before it: reading on begins there, which spares the partitions below.
  position bigint not null,
  state json,
  state_binary bytea,
  content_type text not null,
  -- Under which definition a decider made it; others do not use it.
  tag text,
  recorded_at timestamptz not null,
  primary key (stream_id, owner),
  check ((state is null) <> (state_binary is null))
);
