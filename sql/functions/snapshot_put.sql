-- Saves the state of a stream at an offset, unless a newer one of the same owner is there; one at the same offset is replaced.
-- Returns created or replaced; or outdated, beyond-head, not-found, and nothing is changed. known is the offset that is in the
-- way: that of the newer snapshot, of the last event, or the one before the stream's present life.
--
-- What a decider keeps may be lost with a crash, and is made anew: its commit waits for no disk, which appends need.
--
-- The row of the stream is locked so that a deletion, which takes the snapshots along, waits or is waited for; appends do not.
create or replace function snapshot_put(
  p_stream text, p_owner text, p_offset bigint, p_position bigint, p_state text, p_binary bytea, p_content_type text, p_tag text,
  out outcome text, out known bigint, out log_id uuid, out recorded timestamptz
)
language plpgsql as $$
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
end $$;
