-- Lets go on the paused keys of a consumer group whose dead letters are gone, all of them: put back, discarded, or never kept.
-- Returns how many keys go on.
create or replace function cursor_resume_keys(p_cursor bigint) returns int
language plpgsql as $$
declare
  freed bigint[];
begin
  if not exists (select from paused_keys k where k.cursor_id = p_cursor) then return 0; end if;
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  delete from paused_keys k
    where k.cursor_id = p_cursor
      and not exists (select from dead_letters l where l.cursor_id = k.cursor_id and l.position = k.position)
      and exists (
        select from paused_keys o join dead_letters l on l.cursor_id = o.cursor_id and l.position = o.position
        where o.cursor_id = p_cursor and o.key = k.key);
  freed := array(
    select distinct k.key from paused_keys k
    where k.cursor_id = p_cursor
      and not exists (select from dead_letters l where l.cursor_id = k.cursor_id and l.position = k.position)
    order by k.key);
  perform group_unpause(p_cursor, freed);
  return cardinality(freed);
end $$;
