-- Takes back what is overdue under a cursor at which nobody may be waiting, some hundreds of leases at most; p_since: nothing is
-- that was due earlier. Returns how many events were taken back.
create or replace function cursor_expire(p_cursor bigint, p_since timestamptz) returns int
language sql as $$
  select taken from delivery_expire(p_cursor, p_since)
$$;
