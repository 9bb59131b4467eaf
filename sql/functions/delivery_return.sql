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
  next_step bigint;
  place bigint;
  here bigint[];
  holder text;
  given bigint[];
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return results; end if;
  select n.step, n.place into next_step, place from cursor_next(p_cursor, clock_timestamp()) n;
  insert into cursor_steps (cursor_id, step, position) values (p_cursor, next_step, place);
  for g in 1 .. cardinality(p_steps) loop
    given := p_positions[p_firsts[g] : p_firsts[g] + p_counts[g] - 1];
    select d.consumer into holder from deliveries d
      where d.step = p_steps[g] and d.cursor_id = p_cursor and d.part = p_parts[g] limit 1;
    results[p_firsts[g] : p_firsts[g] + p_counts[g] - 1] :=
      delivery_settle_some(p_cursor, p_steps[g], p_parts[g], p_consumers[g], given, p_action = 'drop');
    select array_agg(u.position order by u.position) into here
      from unnest(given, results[p_firsts[g] : p_firsts[g] + p_counts[g] - 1]) u(position, result) where u.result = 0;
    continue when here is null or p_action = 'drop';
    perform delivery_revoke(p_cursor, p_steps[g], p_parts[g], here);
    perform delivery_fail(p_cursor, next_step, holder, here, p_reason, p_delay_ms, p_action = 'dead-letter');
  end loop;
  return results;
end $$;
