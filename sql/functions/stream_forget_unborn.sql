-- Removes rows of streams that never had an event and do not exist; returns how many. One that is being appended to is
-- locked, and passed over; an append that had found the row just before notices that it is gone and begins anew.
create or replace function stream_forget_unborn(p_limit int) returns int
language plpgsql as $$
declare
  gone int;
begin
  -- An array, because a subquery that locks is run once for that, but as often as the planner likes within a join.
  delete from streams where id = any(array(
    select s.id from streams s
    where s.created_at is null and s.born_offset = 0 and not s.internal
    order by s.id limit p_limit for no key update skip locked));
  get diagnostics gone = row_count;
  return gone;
end $$;
