-- Lets a paused key go on: what was parked of it waits to be handed out. The caller has locked the cursor.
create or replace function group_unpause(p_cursor bigint, p_key bigint) returns void
language plpgsql as $$
declare
  held record;
  freed record;
begin
  delete from paused_keys k where k.cursor_id = p_cursor and k.key = p_key;
  if not found then return; end if;
  for held in
    select d.step, d.part, d.piece, d.positions, d.keys from deliveries d
    where d.cursor_id = p_cursor and d.state = 'parked' and p_key = any(d.keys) order by d.step, d.part for update
  loop
    select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into freed
      from unnest(held.positions, held.keys) u(position, key) where u.key = p_key;
    perform delivery_take_out(held.step, p_cursor, held.part, held.piece, freed.positions);
    perform delivery_wait(p_cursor, freed.positions, freed.keys, clock_timestamp());
  end loop;
end $$;
