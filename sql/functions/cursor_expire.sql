-- Takes back what is overdue under a cursor at which nobody may be waiting; p_since: nothing is that was due earlier.
-- Returns how many events were taken back.
create or replace function cursor_expire(p_cursor bigint, p_since timestamptz) returns int
language sql as $$
  select delivery_expire(p_cursor, null, null, null, 'not settled in time', p_since)
$$;
