-- Moves the checkpoint of a generation, in the transaction that writes its tables and as the last thing in it: who does not hold the
-- lease any more, stands elsewhere, or is paused writes nothing.
create or replace function projection_advance(
  p_projection text, p_generation int, p_from bigint, p_to bigint, p_events int, p_owner uuid, p_epoch bigint
) returns void
language plpgsql as $$
begin
  perform lease_check('projection:' || p_projection, p_owner, p_epoch);
  update projection_generations g
    set position = p_to, events = g.events + p_events,
        attempts = case when g.failed_position > p_to then g.attempts else 0 end,
        failed_position = case when g.failed_position > p_to then g.failed_position end,
        halted = g.halted and g.failed_position > p_to
    where g.projection = p_projection and g.generation = p_generation and g.position = p_from
      and g.role in ('live', 'building') and not g.paused;
  if not found then
    raise exception using errcode = 'SL012',
      message = format('generation %s of projection %s does not go on from %s', p_generation, p_projection, p_from);
  end if;
end $$;
