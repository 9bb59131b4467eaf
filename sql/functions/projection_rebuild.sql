-- Asks for a projection to be built anew: from the beginning, or from its newest snapshot. One that is being built is not disturbed,
-- unless an event has halted it.
create or replace function projection_rebuild(p_projection text, p_from text) returns text
language plpgsql as $$
begin
  perform from projections p where p.name = p_projection for no key update;
  if not found then return 'not-found'; end if;
  if exists (select from projection_generations g where g.projection = p_projection and g.role = 'building' and not g.halted)
     or exists (select from projections p where p.name = p_projection and p.rebuild_requested is not null) then
    return 'building';
  end if;
  if p_from = 'snapshot' and not exists (
    select from projection_generations s join projection_generations l using (projection, definition)
    where s.projection = p_projection and s.role = 'snapshot' and l.role = 'live'
  ) then
    return 'no-snapshot';
  end if;
  update projections p set rebuild_requested = p_from where p.name = p_projection;
  return 'requested';
end $$;
