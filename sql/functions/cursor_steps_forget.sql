-- Removes steps of cursors but for the newest of each, p_limit of a cursor at most: of p_cursors cursors in the order of
-- their ids behind p_after. reached: the last cursor that was looked at, null when there is none behind p_after.
-- is_rest: some cursor had more steps than the limit.
create or replace function cursor_steps_forget(
  p_after bigint, p_cursors int, p_limit int, out reached bigint, out gone int, out is_rest boolean
)
language plpgsql
set enable_seqscan = off
as $$
declare
  c record;
  newest bigint;
  removed int;
begin
  gone := 0;
  is_rest := false;
  -- Steps that come back after a crash are removed again.
  perform set_config('synchronous_commit', 'off', true);
  for c in select k.id from subscription_cursors k where k.id > p_after order by k.id limit p_cursors loop
    reached := c.id;
    select n.step into newest from cursor_steps n where n.cursor_id = c.id order by n.step desc limit 1;
    delete from cursor_steps n where n.cursor_id = c.id and n.step = any(array(
      select o.step from cursor_steps o where o.cursor_id = c.id and o.step < newest order by o.step limit p_limit));
    get diagnostics removed = row_count;
    gone := gone + removed;
    is_rest := is_rest or removed = p_limit;
  end loop;
end $$;
