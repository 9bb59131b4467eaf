-- Puts back what was handed out but never sent: it is handed out anew at once, and does not count as an attempt.
create or replace function delivery_put_back(p_cursor bigint, p_steps bigint[], p_parts smallint[]) returns void
language plpgsql as $$
declare
  next_step bigint;
  place bigint;
  held record;
  next_part smallint := 0;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  select n.step, n.place into next_step, place from cursor_next(p_cursor, clock_timestamp()) n;
  insert into cursor_steps (cursor_id, step, position) values (p_cursor, next_step, place);
  for held in
    delete from deliveries d using unnest(p_steps, p_parts) u(step, part)
      where d.step = u.step and d.cursor_id = p_cursor and d.part = u.part and d.state = 'leased'
      returning d.step, d.part, d.positions
  loop
    perform delivery_revoke(p_cursor, held.step, held.part, held.positions);
    insert into deliveries (cursor_id, step, part, state, due, positions)
      values (p_cursor, next_step, next_part, 'ready', clock_timestamp(), held.positions);
    next_part := next_part + 1;
  end loop;
end $$;
