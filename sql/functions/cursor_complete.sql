-- Finds whether a cursor is completed: it stands at its end, and everything up to there is settled. Its subscription is
-- completed with the last of its cursors, and open again when something has been put back, or the cursor was reset.
create or replace function cursor_complete(p_cursor bigint) returns boolean
language plpgsql as $$
declare
  at bigint;
  is_completed boolean;
  changed boolean;
  s record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return false; end if;
  select n.place into at from cursor_next(p_cursor, clock_timestamp()) n;
  is_completed := exists (select from cursor_ends e where e.cursor_id = p_cursor and e.position = at) and cursor_floor(p_cursor) > at;
  update cursor_ends e set completed_at = case when is_completed and e.position = at then clock_timestamp() end
    where e.cursor_id = p_cursor and (e.completed_at is not null) <> (is_completed and e.position = at);
  changed := found;
  select sub.id, sub.completed_at into s
    from subscription_cursors c join subscriptions sub on sub.id = c.subscription_id where c.id = p_cursor;
  if changed or not is_completed and s.completed_at is not null then perform subscription_complete(s.id); end if;
  return is_completed;
end $$;
