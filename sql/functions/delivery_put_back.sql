-- Puts back what was never sent, or is to be handed out to the same consumer anew: at once, and without counting an attempt.
-- Later events of the same keys that went out meanwhile are taken back, and come again behind it. What is marked as processed
-- is settled instead.
create or replace function delivery_put_back(p_cursor bigint, p_steps bigint[], p_parts smallint[]) returns void
language plpgsql as $$
declare
  held record;
  back bigint[] := '{}';
  back_keys bigint[] := '{}';
  keyed boolean := false;
  marked bigint[];
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
    keyed := keyed or held.keys is not null;
    back := back || held.positions;
    back_keys := back_keys || coalesce(held.keys, array_fill(null::bigint, array[cardinality(held.positions)]));
  end loop;
  marked := processed_settle(p_cursor, back);
  -- All at once, so that those of a key come again in its order, whichever leases they were in.
  select array_agg(u.position order by u.position), array_agg(u.key order by u.position) into back, back_keys
    from unnest(back, back_keys) u(position, key) where u.position <> all(marked);
  if back is null then return; end if;
  if keyed then perform group_revoke(p_cursor, back, back_keys, null); end if;
  perform delivery_wait(p_cursor, back, case when keyed then back_keys end, clock_timestamp());
end $$;
