-- Removes the content of dead letters that were put back and are settled, looking at p_limit of them behind (p_position,
-- p_cursor). What was given away for good is read after it has left the ledger: a row goes p_grace after it was first seen
-- there no more. reached_…: the last one that was looked at, null when there is none left.
create or replace function replayed_letters_forget(
  p_position bigint, p_cursor bigint, p_limit int, p_grace interval, out reached_position bigint, out reached_cursor bigint
)
language plpgsql as $$
declare
  r record;
begin
  for r in
    select l.position, l.cursor_id, l.settled_at, delivery_is_open(l.cursor_id, l.position) as is_open
    from replayed_letters l where (l.position, l.cursor_id) > (p_position, p_cursor)
    order by l.position, l.cursor_id limit p_limit
  loop
    reached_position := r.position;
    reached_cursor := r.cursor_id;
    if r.is_open or r.settled_at is null then
      continue when r.is_open and r.settled_at is null;
      update replayed_letters l set settled_at = case when r.is_open then null else clock_timestamp() end
        where l.position = r.position and l.cursor_id = r.cursor_id;
    else
      -- It may have been put back once more since.
      delete from replayed_letters l
        where l.position = r.position and l.cursor_id = r.cursor_id and l.settled_at < clock_timestamp() - p_grace;
    end if;
  end loop;
end $$;
