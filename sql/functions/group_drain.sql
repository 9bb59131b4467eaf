-- Hands over the slots of which nothing is out any more; what is still out at its drain deadline is taken back. The caller
-- has locked the cursor. p_step: for what is taken back.
create or replace function group_drain(p_cursor bigint, p_slots int) returns void
language plpgsql as $$
declare
  overdue int[];
  leased int[];
  held record;
  late record;
  moved int[];
begin
  if not exists (select from group_slots g where g.cursor_id = p_cursor and g.next_owner is not null) then return; end if;
  select array_agg(g.slot) into overdue from group_slots g
    where g.cursor_id = p_cursor and g.next_owner is not null and g.drain_deadline <= clock_timestamp();
  if overdue is not null then
    for held in
      select d.step, d.part, d.piece, d.consumer from deliveries d
      where d.cursor_id = p_cursor and d.consumer > '' order by d.step, d.part, d.piece for update
    loop
      -- What one has lost to the failure of another is not there any more.
      select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into late
        from deliveries d cross join lateral unnest(d.positions, d.keys) u(position, key)
        where d.step = held.step and d.cursor_id = p_cursor and d.part = held.part and d.piece = held.piece
          and (u.key % p_slots)::int = any(overdue);
      continue when late.positions is null;
      perform delivery_take_out(held.step, p_cursor, held.part, held.piece, late.positions);
      perform delivery_revoke(p_cursor, held.step, held.part, late.positions);
      perform delivery_fail(p_cursor, held.consumer, late.positions, late.keys, 'not settled before its slot moved', 0, false);
    end loop;
  end if;
  leased := group_leased_slots(p_cursor, p_slots);
  with moves as (
    update group_slots g set owner = g.next_owner, next_owner = null, drain_deadline = null, epoch = g.epoch + 1
      where g.cursor_id = p_cursor and g.next_owner is not null and g.slot <> all(leased)
      returning g.slot
  )
  select array_agg(m.slot) into moved from moves m;
  if moved is null then return; end if;
  -- What has waited while they drained is the new owner's.
  for held in
    select d.step, d.part, d.piece, d.due, d.positions, d.keys from deliveries d
    where d.cursor_id = p_cursor and d.owner = '' and d.owner >= '' order by d.step, d.part, d.piece for update
  loop
    select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into late
      from unnest(held.positions, held.keys) u(position, key) where (u.key % p_slots)::int = any(moved);
    continue when late.positions is null;
    perform delivery_take_out(held.step, p_cursor, held.part, held.piece, late.positions);
    perform delivery_wait(p_cursor, late.positions, late.keys, held.due);
  end loop;
end $$;
