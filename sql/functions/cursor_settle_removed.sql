-- Settles what is out or waits under a cursor of events that were removed from the log before p_before, p_limit batches at
-- most, of those whose first position lies behind p_after. Returns the first position of the last one, null when none is left.
create or replace function cursor_settle_removed(p_cursor bigint, p_before bigint, p_after bigint, p_limit int) returns bigint
language plpgsql as $$
declare
  held record;
  removed bigint[];
  reached bigint;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  for held in
    select d.step, d.part, d.piece, d.positions from deliveries d
    where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] > p_after and d.positions[1] < p_before
    order by d.positions[1] limit p_limit for update
  loop
    reached := held.positions[1];
    removed := array(
      select u.position from unnest(held.positions) u(position)
      where u.position < p_before and not event_is_there(u.position)
        and not exists (select from replayed_letters r where r.position = u.position and r.cursor_id = p_cursor));
    continue when removed = '{}';
    perform delivery_take_out(held.step, p_cursor, held.part, held.piece, removed);
    delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(removed);
  end loop;
  return reached;
end $$;
