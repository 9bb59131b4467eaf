-- Moves the checkpoint towards the head by at most p_span positions and notes each stream's end below it, so that the
-- probes of an append look at the newest partitions only. Returns whether there is more to do.
create or replace function log_checkpoint(p_head bigint, p_span bigint) returns boolean
language plpgsql as $$
declare
  lower_bound bigint;
  upper_bound bigint;
begin
  select l.checkpoint_position into lower_bound from log l for no key update;
  -- The last event stays above the checkpoint: the next append goes by its time.
  upper_bound := least(lower_bound + p_span, p_head);
  if upper_bound - lower_bound < p_span then return false; end if;
  -- In the order in which appends lock them.
  perform from streams s
    where s.id in (select e.stream_id from events e where e.position >= lower_bound and e.position < upper_bound)
    order by s.name for no key update;
  update streams s
    set checkpoint_offset = ends."offset", checkpoint_bytes = ends.stream_bytes, checkpoint_position = ends.position
    from (
      select distinct on (e.stream_id) e.stream_id, e."offset", e.stream_bytes, e.position
      from events e where e.position >= lower_bound and e.position < upper_bound
      order by e.stream_id, e.position desc
    ) ends
    where s.id = ends.stream_id and s.checkpoint_offset < ends."offset";
  update log set checkpoint_position = upper_bound;
  return p_head - upper_bound >= p_span;
end $$;
