-- Enters events that wait to be handed out from p_due on; of a consumer group by whose they will be, and those of paused keys apart.
-- Positions ascend; p_keys: the hash of each one's key, null where order within keys is not kept. The caller has locked the cursor.
create or replace function delivery_wait(p_cursor bigint, p_positions bigint[], p_keys bigint[], p_due timestamptz) returns void
language plpgsql as $$
declare
  next_step constant bigint := cursor_step(p_cursor);
begin
  if p_keys is null then
    insert into deliveries (cursor_id, step, part, state, due, positions) values (p_cursor, next_step, 0, 'ready', p_due, p_positions);
    return;
  end if;
  insert into deliveries (cursor_id, step, part, state, due, positions, keys, owner)
    select p_cursor, next_step, row_number() over () - 1, case when w.owner is null then 'parked' else 'ready' end,
           case when w.owner is null then 'infinity' else p_due end, w.positions, w.keys, w.owner
    from (
      select case when k.key is null then coalesce(g.next_owner, g.owner, '') end as owner,
             array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys
      from subscription_cursors c join subscriptions s on s.id = c.subscription_id
        cross join lateral unnest(p_positions, p_keys) u(position, key)
        left join group_slots g on g.cursor_id = p_cursor and g.slot = u.key % s.slots
        left join paused_keys k on k.cursor_id = p_cursor and k.key = u.key
      where c.id = p_cursor
      group by 1
    ) w;
end $$;
