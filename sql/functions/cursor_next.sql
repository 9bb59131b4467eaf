-- Where a cursor stands, and the number of its next step; the caller has locked it.
create or replace function cursor_next(p_cursor bigint, p_now timestamptz, out step bigint, out place bigint)
language sql stable as $$
  select greatest(coalesce(s.step, 0) + 1, (extract(epoch from p_now) * 1000000)::bigint), coalesce(s.position, c.start_position)
  from subscription_cursors c
  left join lateral (
    select n.step, n.position from cursor_steps n where n.cursor_id = c.id order by n.step desc limit 1
  ) s on true
  where c.id = p_cursor
$$;
