-- Puts back what was handed out but never sent: it is handed out anew at once, and does not count as an attempt. Later
-- events of the same keys that went out meanwhile are taken back, and come again behind it.
create or replace function delivery_put_back(p_cursor bigint, p_steps bigint[], p_parts smallint[]) returns void
language plpgsql as $$
declare
  held record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  for held in
    with leases as materialized (select p_cursor as cursor_id, u.* from unnest(p_steps, p_parts) u(step, part))
    delete from deliveries d using leases u
      where d.step = u.step and d.cursor_id = u.cursor_id and d.part = u.part and d.state = 'leased'
      returning d.step, d.part, d.positions, d.keys
  loop
    perform delivery_revoke(p_cursor, held.step, held.part, held.positions);
    if held.keys is not null then perform group_revoke(p_cursor, held.positions, held.keys, null); end if;
    perform delivery_wait(p_cursor, held.positions, held.keys, clock_timestamp());
  end loop;
end $$;
