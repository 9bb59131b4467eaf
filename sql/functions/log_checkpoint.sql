-- Moves the checkpoint towards the head by at most p_span positions and notes each stream's end below it, so that the
-- probes of an append look at the newest partitions only. Returns whether there is more to do.
--
-- The events are looked through before any stream is locked: what lies below the head does not change, and an append
-- would wait for as long as it takes. A stream that is deleted meanwhile notes its own end, which is no earlier.
create or replace function log_checkpoint(p_head bigint, p_span bigint) returns boolean
language plpgsql as $$
declare
  lower_bound bigint;
  upper_bound bigint;
  ids bigint[]; offsets bigint[]; bytes bigint[]; positions bigint[];
begin
  select l.checkpoint_position into lower_bound from log l for no key update;
  -- The last event stays above the checkpoint: the next append goes by its time.
  upper_bound := least(lower_bound + p_span, p_head);
  if upper_bound - lower_bound < p_span then return false; end if;
  select array_agg(ends.stream_id), array_agg(ends."offset"), array_agg(ends.stream_bytes), array_agg(ends.position)
    into ids, offsets, bytes, positions
    from (
      select distinct on (e.stream_id) e.stream_id, e."offset", e.stream_bytes, e.position
      from events e where e.position >= lower_bound and e.position < upper_bound
      order by e.stream_id, e.position desc
    ) ends;
  -- In the order in which appends lock them.
  perform from streams s where s.id = any(ids) order by s.name for no key update;
  update streams s
    set checkpoint_offset = ends."offset", checkpoint_bytes = ends.stream_bytes, checkpoint_position = ends.position
    from unnest(ids, offsets, bytes, positions) as ends(stream_id, "offset", stream_bytes, position)
    where s.id = ends.stream_id and s.checkpoint_offset < ends."offset";
  update log set checkpoint_position = upper_bound;
  return p_head - upper_bound >= p_span;
end $$;
