-- Whether an event of a cursor was handed out and is not settled: out, waiting, parked, or delivered and not read.
create or replace function delivery_is_open(p_cursor bigint, p_position bigint) returns boolean
language sql stable as $$
  select exists (select from deliveries d where d.cursor_id = p_cursor and d.positions[1] > -1
                   and d.positions[1] <= p_position and d.positions[cardinality(d.positions)] >= p_position
                   and p_position = any(d.positions))
      or exists (select from receipts r where r.cursor_id = p_cursor and r.positions[1] > -1
                   and r.positions[1] <= p_position and r.positions[cardinality(r.positions)] >= p_position
                   and p_position = any(r.positions))
$$;
