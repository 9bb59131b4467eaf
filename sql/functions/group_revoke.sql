-- Keeps the order within keys of which an event has failed: later events of the same keys that are out are taken back and
-- wait behind it. p_poisoned: failed events whose keys are paused now; what waits of these keys is parked. The caller has
-- locked the cursor.
create or replace function group_revoke(p_cursor bigint, p_positions bigint[], p_keys bigint[], p_poisoned bigint[]) returns void
language plpgsql as $$
declare
  failed record;
  late record;
begin
  select array_agg(f.key order by f.key) as keys, array_agg(f.position order by f.key) as positions into failed
    from (select u.key, min(u.position) as position from unnest(p_positions, p_keys) u(position, key) group by u.key) f;
  select * into late from group_take_out(p_cursor, 'leased', failed.keys, failed.positions);
  if p_poisoned is not null then
    insert into paused_keys (cursor_id, key, position)
      select p_cursor, u.key, u.position from unnest(p_positions, p_keys) u(position, key) where u.position = any(p_poisoned)
      on conflict do nothing;
  end if;
  if late.positions is not null then perform group_wait_behind(p_cursor, late.positions, late.keys); end if;
  if p_poisoned is null then return; end if;
  select array_agg(f.key order by f.key) as keys, array_agg(-1::bigint) as positions into failed
    from (select distinct u.key from unnest(p_positions, p_keys) u(position, key) where u.position = any(p_poisoned)) f;
  select * into late from group_take_out(p_cursor, 'ready', failed.keys, failed.positions);
  perform group_enter(p_cursor, late.positions, late.keys);
end $$;
