-- Notes that an event failed; after so many attempts the generation is halted. Returns how often it was tried; null when the
-- generation does not stand there any more.
create or replace function projection_fail(
  p_projection text, p_generation int, p_from bigint, p_failed bigint, p_error text, p_attempts int, p_owner uuid, p_epoch bigint
) returns int
language plpgsql as $$
declare
  tried int;
begin
  perform lease_check('projection:' || p_projection, p_owner, p_epoch);
  update projection_generations g
    set attempts = case when g.failed_position = p_failed then g.attempts + 1 else 1 end,
        halted = case when g.failed_position = p_failed then g.attempts + 1 else 1 end >= p_attempts,
        failed_position = p_failed, failures = g.failures + 1, last_error = p_error, last_error_at = clock_timestamp()
    where g.projection = p_projection and g.generation = p_generation and g.position = p_from
      and g.role in ('live', 'building')
    returning g.attempts into tried;
  return tried;
end $$;
