-- Settles events that were handed out: p_cursors, p_steps, p_parts name the leases, whose events are p_positions from
-- p_firsts on, p_counts of them, ascending. p_consumers: whose lease it must be, null = anybody's.
-- Under a cursor that keeps receipts they are delivered, and unread from now on; what has failed of them before is remembered
-- until they are read. results, one for each position: 0 settled now, 1 settled already, 2 stale.
create or replace function delivery_settle(
  p_cursors bigint[], p_steps bigint[], p_parts smallint[], p_consumers text[], p_firsts int[], p_counts int[], p_positions bigint[]
) returns smallint[]
language plpgsql as $$
declare
  results smallint[] := array_fill(0::smallint, array[cardinality(p_positions)]);
  whole int[];
  again record;
  now_at constant timestamptz := clock_timestamp();
  keeps_receipts boolean;
  given bigint[];
  codes smallint[];
begin
  -- Most leases are settled as a whole.
  with gone as (
    delete from deliveries d
      using unnest(p_cursors, p_steps, p_parts, p_consumers, p_firsts, p_counts) with ordinality g(cursor_id, step, part, consumer, first, count, n)
      where d.step = g.step and d.cursor_id = g.cursor_id and d.part = g.part and d.due > clock_timestamp()
        and (g.consumer is null or d.consumer = g.consumer)
        and d.positions = p_positions[g.first : g.first + g.count - 1]
      returning g.n::int as n, d.cursor_id, d.positions, d.retried
  ), delivered as (
    insert into receipts (cursor_id, positions, delivered_at, due)
      select gone.cursor_id, gone.positions, now_at, now_at + s.unread_timeout_ms * interval '1 millisecond'
      from gone join subscription_cursors c on c.id = gone.cursor_id join subscriptions s on s.id = c.subscription_id
      where s.mode = 'read-receipt'
  ), forgotten as (
    delete from delivery_failures f using gone
      where gone.retried and f.cursor_id = gone.cursor_id and f.position = any(gone.positions)
        and not cursor_keeps_receipts(gone.cursor_id)
  )
  select array_agg(gone.n) into whole from gone;
  for again in
    select g.* from unnest(p_cursors, p_steps, p_parts, p_consumers, p_firsts, p_counts) with ordinality g(cursor_id, step, part, consumer, first, count, n)
    where whole is null or g.n <> all(whole)
    order by g.cursor_id, g.step, g.part
  loop
    given := p_positions[again.first : again.first + again.count - 1];
    keeps_receipts := coalesce(cursor_keeps_receipts(again.cursor_id), false);
    codes := delivery_settle_some(again.cursor_id, again.step, again.part, again.consumer, given, not keeps_receipts);
    results[again.first : again.first + again.count - 1] := codes;
    if keeps_receipts then
      perform receipt_deliver(again.cursor_id, array(
        select u.position from unnest(given, codes) u(position, code) where u.code = 0 order by u.position));
    end if;
  end loop;
  return results;
end $$;
