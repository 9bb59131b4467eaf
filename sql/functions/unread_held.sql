-- The first p_limit events behind p_after that a cursor has handed out or delivered and that are not read, ascending, and where
-- the cursor stands: everything beyond that is unread too, but for early_reads.
create or replace function unread_held(p_cursor bigint, p_after bigint, p_limit int, out positions bigint[], out place bigint)
language plpgsql stable as $$
declare
  held record;
begin
  positions := '{}';
  select n.place into place from cursor_next(p_cursor, clock_timestamp()) n;
  for held in
    select d.positions[1] as first, d.positions as events from deliveries d where d.cursor_id = p_cursor and d.positions[1] > -1
    union all
    select r.positions[1], r.positions from receipts r where r.cursor_id = p_cursor and r.positions[1] > -1
    order by first
  loop
    -- Batches come in the order of their first events: beyond the last one wanted nothing more can belong here.
    exit when cardinality(positions) >= p_limit and held.first > positions[p_limit];
    continue when held.events[cardinality(held.events)] <= p_after;
    if held.first > p_after and (positions = '{}' or held.first > positions[cardinality(positions)]) then
      positions := positions || held.events;
    else
      positions := array(
        select u.position from unnest(positions || held.events) u(position) where u.position > p_after order by u.position limit p_limit);
    end if;
  end loop;
  positions := positions[1:p_limit];
end $$;
