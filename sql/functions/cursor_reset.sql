-- Moves a cursor to a position, back or forward. What is out, waits, is parked or unread is dropped, and so are the attempts
-- that were counted, what was read or marked as processed behind the position, and the pauses of keys: what lies behind the
-- position is handed out as if for the first time, and every older token is stale. Dead letters stay; a subscription that was
-- completed is open again. False when there is no such cursor.
create or replace function cursor_reset(p_cursor bigint, p_position bigint) returns boolean
language plpgsql as $$
declare
  next_step bigint;
  held record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return false; end if;
  select n.step into next_step from cursor_next(p_cursor, clock_timestamp()) n;
  for held in
    delete from deliveries d where d.cursor_id = p_cursor and d.due > '-infinity'
      returning d.step, d.part, d.positions, d.state
  loop
    continue when held.state <> 'leased';
    perform delivery_revoke(p_cursor, held.step, held.part, held.positions);
  end loop;
  delete from delivery_failures f where f.cursor_id = p_cursor;
  delete from replayed_letters r where r.cursor_id = p_cursor;
  -- After the leases: an acknowledgement that was on its way has made its receipts by now.
  delete from receipts r where r.cursor_id = p_cursor and r.positions[1] > -1;
  delete from early_reads e where e.cursor_id = p_cursor;
  delete from processed_events p where p.cursor_id = p_cursor and p.position > p_position;
  delete from paused_keys k where k.cursor_id = p_cursor;
  insert into cursor_steps (cursor_id, step, position) values (p_cursor, next_step, p_position);
  perform cursor_complete(p_cursor);
  return true;
end $$;
