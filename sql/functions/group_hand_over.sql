-- Hands over the slots of which nothing is out any more; what is still out at its drain deadline is taken back, some hundreds of
-- leases at most. Returns whether more is to be taken back. The caller has locked the cursor.
create or replace function group_hand_over(p_cursor bigint, p_slots int) returns boolean
language plpgsql as $$
declare
  overdue int[];
  leased int[];
  held record;
  late bigint[];
  late_keys bigint[];
  next_piece smallint;
  steps bigint[] := '{}';
  parts smallint[] := '{}';
  pieces smallint[] := '{}';
begin
  if not exists (select from group_slots g where g.cursor_id = p_cursor and g.next_owner is not null) then return false; end if;
  select array_agg(g.slot) into overdue from group_slots g
    where g.cursor_id = p_cursor and g.next_owner is not null and g.drain_deadline <= clock_timestamp();
  if overdue is not null then
    for held in
      select d.* from deliveries d
      where d.cursor_id = p_cursor and d.consumer > ''
        and exists (select from unnest(d.keys) u(key) where (u.key % p_slots)::int = any(overdue))
      order by d.step, d.part, d.piece limit 200 for update
    loop
      select array_agg(u.position order by u.position), array_agg(u.key order by u.position) into late, late_keys
        from unnest(held.positions, held.keys) u(position, key) where (u.key % p_slots)::int = any(overdue);
      next_piece := held.piece;
      -- What of the lease is of other slots stays where it is.
      if cardinality(late) < cardinality(held.positions) then
        select max(d.piece) + 1 into next_piece from deliveries d
          where d.step = held.step and d.cursor_id = p_cursor and d.part = held.part;
        perform delivery_take_out(held.step, p_cursor, held.part, held.piece, late);
        insert into deliveries (cursor_id, step, part, piece, state, consumer, due, positions, keys, retried)
          values (p_cursor, held.step, held.part, next_piece, 'leased', held.consumer, held.due, late, late_keys, held.retried);
      end if;
      steps := steps || held.step;
      parts := parts || held.part;
      pieces := pieces || next_piece;
    end loop;
    if steps <> '{}' then perform delivery_take_back(p_cursor, steps, parts, pieces, 'not settled before its slot moved'); end if;
  end if;
  leased := group_leased_slots(p_cursor, p_slots);
  update group_slots g set owner = g.next_owner, next_owner = null, drain_deadline = null, epoch = g.epoch + 1
    where g.cursor_id = p_cursor and g.next_owner is not null and g.slot <> all(leased);
  -- What has waited while they drained is the new owner's.
  if found then perform group_assign(p_cursor, ''); end if;
  return coalesce(overdue && leased, false);
end $$;
