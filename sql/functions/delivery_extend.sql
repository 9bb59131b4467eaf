-- Moves the deadline of events that were handed out to p_extension_ms from now; leases and events are named as for
-- delivery_settle. results, one for each position: 0 extended, 1 settled already, 2 stale.
create or replace function delivery_extend(
  p_cursors bigint[], p_steps bigint[], p_parts smallint[], p_consumers text[], p_firsts int[], p_counts int[], p_positions bigint[],
  p_extension_ms bigint, out results smallint[], out deadline timestamptz
)
language plpgsql as $$
declare
  g record;
  held record;
  given bigint[];
  here record;
  extended bigint[];
  others bigint[];
begin
  -- Or what is overdue by the time somebody looks, but not by the time of this, would be taken back though it is extended.
  perform from subscription_cursors c where c.id = any(p_cursors) order by c.id for no key update;
  results := array_fill(2::smallint, array[cardinality(p_positions)]);
  deadline := clock_timestamp() + p_extension_ms * interval '1 millisecond';
  for g in
    select u.* from unnest(p_cursors, p_steps, p_parts, p_consumers, p_firsts, p_counts) u(cursor_id, step, part, consumer, first, count)
    order by u.cursor_id, u.step, u.part
  loop
    given := p_positions[g.first : g.first + g.count - 1];
    extended := '{}';
    for held in
      select d.* from deliveries d
      where d.step = g.step and d.cursor_id = g.cursor_id and d.part = g.part and d.due > clock_timestamp()
        and (g.consumer is null or d.consumer = g.consumer)
      order by d.piece for update
    loop
      select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into here
        from unnest(held.positions, held.keys) u(position, key) where u.position = any(given);
      continue when here.positions is null;
      extended := extended || here.positions;
      if cardinality(here.positions) = cardinality(held.positions) then
        update deliveries d set due = deadline
          where d.step = g.step and d.cursor_id = g.cursor_id and d.part = g.part and d.piece = held.piece;
      else
        perform delivery_take_out(g.step, g.cursor_id, g.part, held.piece, here.positions);
        insert into deliveries (cursor_id, step, part, piece, state, consumer, due, positions, keys, retried)
          select g.cursor_id, g.step, g.part, max(d.piece) + 1, 'leased', held.consumer, deadline, here.positions,
                 case when held.keys is not null then here.keys end, held.retried
          from deliveries d where d.step = g.step and d.cursor_id = g.cursor_id and d.part = g.part;
      end if;
    end loop;
    results[g.first : g.first + g.count - 1] := array_fill(0::smallint, array[g.count]);
    -- Of the others, whether they are settled or the token is stale.
    if cardinality(extended) < g.count then
      others := array(select u.position from unnest(given) u(position) where u.position <> all(extended));
      results[g.first : g.first + g.count - 1] := (
        select array_agg(coalesce(o.standing, 0::smallint) order by u.n)
        from unnest(given) with ordinality u(position, n)
        left join unnest(others, delivery_standing(g.cursor_id, g.step, g.part, others)) o(position, standing) on o.position = u.position);
    end if;
  end loop;
end $$;
