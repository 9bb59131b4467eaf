-- Keeps the order within keys of which an event has failed: later events of the same keys that are out are taken back and
-- wait behind it. p_poisoned: failed events whose keys are paused now; what waits of these keys is parked. The caller has
-- locked the cursor.
create or replace function group_revoke(p_cursor bigint, p_positions bigint[], p_keys bigint[], p_poisoned bigint[]) returns void
language plpgsql as $$
declare
  held record;
  late record;
  marked bigint[];
begin
  if p_poisoned is not null then
    insert into paused_keys (cursor_id, key, position)
      select p_cursor, u.key, min(u.position) from unnest(p_positions, p_keys) u(position, key) where u.position = any(p_poisoned)
      group by u.key
      on conflict do nothing;
  end if;
  for held in
    select d.step, d.part, d.piece, d.state, d.due, d.positions, d.keys from deliveries d
    where d.cursor_id = p_cursor and d.keys && p_keys and (d.consumer > '' or d.owner >= '')
    order by d.step, d.part, d.piece for update
  loop
    select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into late
      from unnest(held.positions, held.keys) u(position, key)
      where case when held.state = 'leased'
                 then u.position > (select min(f.position) from unnest(p_positions, p_keys) f(position, key) where f.key = u.key)
                 else exists (select from paused_keys k where k.cursor_id = p_cursor and k.key = u.key) end;
    continue when late.positions is null;
    perform delivery_take_out(held.step, p_cursor, held.part, held.piece, late.positions);
    if held.state = 'leased' then
      perform delivery_revoke(p_cursor, held.step, held.part, late.positions);
      marked := processed_settle(p_cursor, late.positions);
      if marked <> '{}' then
        select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into late
          from unnest(late.positions, late.keys) u(position, key) where u.position <> all(marked);
        continue when late.positions is null;
      end if;
    end if;
    perform delivery_wait(p_cursor, late.positions, late.keys, clock_timestamp());
  end loop;
end $$;
