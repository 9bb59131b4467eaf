-- Hands over the slots of which nothing is out any more; what is still out at its drain deadline is taken back. The caller
-- has locked the cursor. p_step: for what is taken back.
create or replace function group_drain(p_cursor bigint, p_slots int) returns void
language plpgsql as $$
declare
  overdue int[];
  leased int[];
  held record;
  late bigint[];
begin
  if not exists (select from group_slots g where g.cursor_id = p_cursor and g.next_owner is not null) then return; end if;
  select array_agg(g.slot) into overdue from group_slots g
    where g.cursor_id = p_cursor and g.next_owner is not null and g.drain_deadline <= clock_timestamp();
  if overdue is not null then
    for held in
      select d.* from deliveries d where d.cursor_id = p_cursor and d.consumer > '' order by d.step, d.part, d.piece for update
    loop
      select array_agg(u.position order by u.position) into late
        from unnest(held.positions, held.keys) u(position, key) where (u.key % p_slots)::int = any(overdue);
      continue when late is null;
      perform delivery_take_out(held.step, p_cursor, held.part, held.piece, late);
      perform delivery_revoke(p_cursor, held.step, held.part, late);
      perform delivery_fail(p_cursor, held.consumer, late,
        (select array_agg(u.key order by u.position) from unnest(held.positions, held.keys) u(position, key) where u.position = any(late)),
        'not settled before its slot moved', 0, false);
    end loop;
  end if;
  leased := group_leased_slots(p_cursor, p_slots);
  update group_slots g set owner = g.next_owner, next_owner = null, drain_deadline = null, epoch = g.epoch + 1
    where g.cursor_id = p_cursor and g.next_owner is not null and g.slot <> all(leased);
end $$;
