-- Notes an event that the server does not take, while the lease is held in this epoch, before any behind it is published. Of the stream
-- of JetStream that the cursor names.
create or replace function bridge_withhold(
  p_owner uuid, p_epoch bigint, p_stream_id bigint, p_offset bigint, p_event_id text, p_type text, p_reason text
) returns void
language plpgsql as $$
begin
  perform lease_check('bridge', p_owner, p_epoch);
  insert into bridge_withheld (stream_id, nats_stream, nats_created, "offset", event_id, type, reason, withheld_at)
    select c.stream_id, c.nats_stream, c.nats_created, p_offset, p_event_id, p_type, p_reason, clock_timestamp()
    from bridge_cursors c where c.stream_id = p_stream_id
    on conflict (stream_id, nats_stream, "offset") do nothing;
end $$;
