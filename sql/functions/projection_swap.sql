-- Makes the generation that is being built the live one, and retires the one that was, once it has come as far: never goes the
-- position of what answers backwards. Returns whether it did; the caller's transaction replaces the views.
create or replace function projection_swap(p_projection text, p_generation int, p_owner uuid, p_epoch bigint) returns boolean
language plpgsql as $$
declare
  own projection_generations;
  live projection_generations;
begin
  perform lease_check('projection:' || p_projection, p_owner, p_epoch);
  perform from projections p where p.name = p_projection for no key update;
  -- In the order of generations, as whoever locks several does.
  perform from projection_generations g where g.projection = p_projection order by g.generation for no key update;
  select * into own from projection_generations g
    where g.projection = p_projection and g.generation = p_generation and g.role = 'building';
  if not found or own.paused then return false; end if;
  select * into live from projection_generations g where g.projection = p_projection and g.role = 'live';
  if found then
    if own.position < live.position then return false; end if;
    update projection_generations g set role = 'retired', role_since = clock_timestamp()
      where g.projection = p_projection and g.generation = live.generation;
  end if;
  update projection_generations g set role = 'live', role_since = clock_timestamp()
    where g.projection = p_projection and g.generation = p_generation;
  return true;
end $$;
