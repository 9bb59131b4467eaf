-- Notes how the publishing of streams stands, while the lease is held in this epoch; of streams that are published still.
-- p_states: rows of bridge_states as JSON.
create or replace function bridge_tell(p_owner uuid, p_epoch bigint, p_states json) returns void
language plpgsql as $$
begin
  perform lease_check('bridge', p_owner, p_epoch);
  insert into bridge_states as b (stream_id, state, error, since)
    select n.stream_id, n.state, n.error, n.since from json_populate_recordset(null::bridge_states, p_states) n
      join cross_service_streams c on c.stream_id = n.stream_id
    order by n.stream_id
    on conflict (stream_id) do update set state = excluded.state, error = excluded.error, since = excluded.since;
end $$;
