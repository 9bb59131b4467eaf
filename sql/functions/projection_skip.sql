-- Lets a projection do without one event, which fails: its generations that stand before it go on behind it. Returns how many.
create or replace function projection_skip(p_projection text, p_position bigint) returns int
language plpgsql as $$
declare
  skipped int;
begin
  insert into projection_skips (projection, generation, position, error)
    select g.projection, g.generation, p_position, g.last_error from projection_generations g
    where g.projection = p_projection and g.failed_position = p_position and g.role in ('live', 'building')
    order by g.generation for update
    on conflict do nothing;
  update projection_generations g
    set position = p_position, failed_position = null, attempts = 0, halted = false
    where g.projection = p_projection and g.failed_position = p_position and g.position < p_position
      and g.role in ('live', 'building');
  get diagnostics skipped = row_count;
  return skipped;
end $$;
