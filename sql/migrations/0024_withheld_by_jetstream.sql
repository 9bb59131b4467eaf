-- Events are withheld from one stream of JetStream: another one, or one that was made anew, has room for them perhaps.
alter table bridge_withheld
  add column nats_stream text not null default '',
  add column nats_created text not null default '';

update bridge_withheld w set nats_stream = c.nats_stream, nats_created = c.nats_created
  from bridge_cursors c where c.stream_id = w.stream_id;

alter table bridge_withheld
  alter column nats_stream drop default,
  alter column nats_created drop default,
  drop constraint bridge_withheld_pkey,
  add primary key (stream_id, nats_stream, "offset");
