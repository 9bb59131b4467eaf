-- Lets a paused key go on: what was parked of it waits to be handed out. The caller has locked the cursor.
create or replace function group_unpause(p_cursor bigint, p_key bigint) returns void
language plpgsql as $$
declare
  freed record;
begin
  delete from paused_keys k where k.cursor_id = p_cursor and k.key = p_key;
  if not found then return; end if;
  select * into freed from group_take_out(p_cursor, 'parked', array[p_key], array[-1::bigint]);
  perform group_enter(p_cursor, freed.positions, freed.keys);
end $$;
