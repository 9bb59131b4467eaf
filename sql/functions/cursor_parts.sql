-- The number of the next part of a step.
create or replace function cursor_parts(p_cursor bigint, p_step bigint) returns int
language sql stable as $$
  select max(d.part) + 1 from deliveries d where d.step = p_step and d.cursor_id = p_cursor
$$;
