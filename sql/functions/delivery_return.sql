-- Takes back events that their holder does not settle: the leases and events are named as for delivery_settle, all of one
-- cursor. p_action: requeue (another try), dead-letter, drop (settled). results, one for each position: 0 taken back,
-- 1 settled already, 2 stale.
create or replace function delivery_return(
  p_cursor bigint, p_steps bigint[], p_parts smallint[], p_consumers text[], p_firsts int[], p_counts int[], p_positions bigint[],
  p_action text, p_delay_ms bigint, p_reason text
) returns smallint[]
language plpgsql as $$
declare
  results smallint[] := array_fill(2::smallint, array[cardinality(p_positions)]);
  lease record;
  given bigint[];
  outcome smallint[];
  here record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return results; end if;
  for g in 1 .. cardinality(p_steps) loop
    given := p_positions[p_firsts[g] : p_firsts[g] + p_counts[g] - 1];
    select min(d.consumer) as consumer, array_agg(u.position) as positions, array_agg(u.key) as keys, bool_or(d.keys is not null) as keyed
      into lease
      from deliveries d cross join lateral unnest(d.positions, d.keys) u(position, key)
      where d.step = p_steps[g] and d.cursor_id = p_cursor and d.part = p_parts[g];
    outcome := delivery_settle_some(p_cursor, p_steps[g], p_parts[g], p_consumers[g], given, p_action = 'drop');
    results[p_firsts[g] : p_firsts[g] + p_counts[g] - 1] := outcome;
    continue when p_action = 'drop';
    select array_agg(u.position order by u.position) as positions, array_agg(l.key order by u.position) as keys into here
      from unnest(given, outcome) u(position, result) join unnest(lease.positions, lease.keys) l(position, key) on l.position = u.position
      where u.result = 0;
    continue when here.positions is null;
    perform delivery_revoke(p_cursor, p_steps[g], p_parts[g], here.positions);
    perform delivery_fail(p_cursor, lease.consumer, here.positions, case when lease.keyed then here.keys end, p_reason, p_delay_ms, p_action = 'dead-letter');
  end loop;
  return results;
end $$;
