-- Notes an event that the server does not take, while the lease is held in this epoch, before any behind it is published.
create or replace function bridge_withhold(
  p_owner uuid, p_epoch bigint, p_stream_id bigint, p_offset bigint, p_event_id text, p_type text, p_reason text
) returns void
language plpgsql as $$
begin
  perform lease_check('bridge', p_owner, p_epoch);
  insert into bridge_withheld (stream_id, "offset", event_id, type, reason, withheld_at)
    values (p_stream_id, p_offset, p_event_id, p_type, p_reason, clock_timestamp())
    on conflict (stream_id, "offset") do nothing;
end $$;
