-- Pauses a projection, or lets it go on: then it also tries again what has failed. What is written when this commits is all that
-- is written while it is paused.
create or replace function projection_pause(p_projection text, p_paused boolean) returns boolean
language plpgsql as $$
begin
  update projections p set paused = p_paused where p.name = p_projection;
  if not found then return false; end if;
  perform from projection_generations g where g.projection = p_projection order by g.generation for no key update;
  update projection_generations g
    set paused = p_paused,
        halted = g.halted and p_paused, attempts = case when g.halted and not p_paused then 0 else g.attempts end
    where g.projection = p_projection;
  return true;
end $$;
