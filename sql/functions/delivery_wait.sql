-- Enters events that wait to be handed out from p_due on; of a consumer group by whose they are, and apart those of slots that drain or
-- are nobody's (owner ''), and those of paused keys.
-- Positions ascend; p_keys: the hash of each one's key, null where order within keys is not kept. The caller has locked the cursor.
create or replace function delivery_wait(p_cursor bigint, p_positions bigint[], p_keys bigint[], p_due timestamptz) returns void
language plpgsql as $$
declare
  next_step constant bigint := cursor_step(p_cursor);
  -- By slot.
  owners text[];
  paused bigint[];
begin
  if p_keys is null then
    insert into deliveries (cursor_id, step, part, state, due, positions) values (p_cursor, next_step, 0, 'ready', p_due, p_positions);
    return;
  end if;
  -- Found by index: with a join, every event would be looked up in both tables.
  select array_agg(coalesce(case when g.next_owner is null then g.owner end, '') order by n.slot) into owners
    from subscription_cursors c join subscriptions s on s.id = c.subscription_id
      cross join lateral generate_series(0, s.slots - 1) n(slot)
      left join group_slots g on g.cursor_id = p_cursor and g.slot = n.slot
    where c.id = p_cursor;
  paused := array(select distinct k.key from paused_keys k where k.cursor_id = p_cursor order by k.key);
  insert into deliveries (cursor_id, step, part, state, due, positions, keys, owner)
    select p_cursor, next_step, row_number() over () - 1, case when w.owner is null then 'parked' else 'ready' end,
           case when w.owner is null then 'infinity' else p_due end, w.positions, w.keys, w.owner
    from (
      select e.owner, array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys
      from unnest(p_positions, p_keys) u(position, key)
        cross join lateral (
          select case when paused[width_bucket(u.key, paused)] is distinct from u.key then owners[u.key % cardinality(owners) + 1] end as owner
        ) e
      -- Of a slot that drains apart, so that its batches need not be divided when it moves.
      group by e.owner, case when e.owner = '' then u.key % cardinality(owners) end
    ) w;
end $$;
