-- Lets paused keys go on: what was parked of them waits to be handed out. p_keys are sorted; the caller has locked the cursor.
create or replace function group_unpause(p_cursor bigint, p_keys bigint[]) returns void
language plpgsql as $$
declare
  freed record;
begin
  if p_keys = '{}' then return; end if;
  delete from paused_keys k where k.cursor_id = p_cursor and k.key = any(p_keys);
  select * into freed from group_take_out(p_cursor, 'parked', p_keys, array_fill(-1::bigint, array[cardinality(p_keys)]));
  perform group_enter(p_cursor, freed.positions, freed.keys);
end $$;
