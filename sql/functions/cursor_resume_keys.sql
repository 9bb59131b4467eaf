-- Lets go on the paused keys of a consumer group whose dead letters are gone: put back, discarded, or never kept. Returns how
-- many.
create or replace function cursor_resume_keys(p_cursor bigint) returns int
language plpgsql as $$
declare
  resumed int := 0;
  paused record;
begin
  if not exists (select from paused_keys k where k.cursor_id = p_cursor) then return 0; end if;
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  for paused in
    select k.key from paused_keys k
    where k.cursor_id = p_cursor
      and not exists (select from dead_letters l where l.cursor_id = k.cursor_id and l.position = k.position)
  loop
    perform group_unpause(p_cursor, paused.key);
    resumed := resumed + 1;
  end loop;
  return resumed;
end $$;
