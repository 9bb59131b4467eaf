-- The lowest position that a cursor has not settled: what is out, waits for another try, is parked, or is delivered and not
-- read counts, and beyond it the whole log. The caller has locked the cursor in an earlier statement, or takes a floor that may be too low.
create or replace function cursor_floor(p_cursor bigint) returns bigint
language sql stable as $$
  select least(
    (select d.positions[1] from deliveries d where d.cursor_id = p_cursor and d.positions[1] > -1 order by d.positions[1] limit 1),
    (select r.positions[1] from receipts r where r.cursor_id = p_cursor and r.positions[1] > -1 order by r.positions[1] limit 1),
    (select n.place + 1 from cursor_next(p_cursor, clock_timestamp()) n))
$$;
