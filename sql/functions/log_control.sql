-- Appends a control record, by which every tail learns of a deletion or a trim in the order of the log. The caller's
-- transaction holds the log lock from here on until it commits.
create or replace function log_control(p_type text, p_data json) returns bigint
language plpgsql as $$
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
end $$;
