-- Takes leases back from their holders, the first ones of those that are named and about a thousand events at most, and hands
-- them out anew at once: all of them together, for each costs much by itself. Of a key of a consumer group only the first lease
-- has failed; what the others held of it waits behind. The caller has locked the cursor. Returns how many events were taken back.
create or replace function delivery_take_back(p_cursor bigint, p_steps bigint[], p_parts smallint[], p_pieces smallint[], p_error text)
returns int
language plpgsql as $$
declare
  held record;
  taken int := 0;
begin
  for held in
    -- With the cursor in the list every batch is found by its whole key; by the parameter, all of the index would be read.
    with listed as materialized (
      select p_cursor as cursor_id, u.* from unnest(p_steps, p_parts, p_pieces) with ordinality u(step, part, piece, n)
    ), named as materialized (
      select l.*, coalesce(sum(cardinality(d.positions)) over (order by l.n rows between unbounded preceding and 1 preceding), 0) as before
      from listed l join deliveries d on d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part and d.piece = l.piece
    ), gone as (
      delete from deliveries d using named n
        where n.before < 1000 and d.step = n.step and d.cursor_id = n.cursor_id and d.part = n.part and d.piece = n.piece and d.state = 'leased'
        returning d.step, d.part, d.piece, d.consumer, d.positions, d.keys
    ), revoked as (
      insert into revoked_deliveries as r (cursor_id, step, part, positions, revoked_at)
        select p_cursor, g.step, g.part, array_agg(u.position), clock_timestamp()
        from gone g cross join lateral unnest(g.positions) u(position) group by g.step, g.part
        on conflict (cursor_id, step, part) do update set positions = r.positions || excluded.positions, revoked_at = excluded.revoked_at
    ), events as (
      select g.consumer, g.keys is not null as keyed, u.position, u.key,
             g.keys is null or dense_rank() over (partition by u.key order by g.step, g.part) = 1 as failed
      from gone g cross join lateral unnest(g.positions, g.keys) u(position, key)
    )
    select e.consumer, count(*)::int as count,
           array_agg(e.position order by e.position) filter (where e.failed) as positions,
           array_agg(e.key order by e.position) filter (where e.failed and e.keyed) as keys,
           array_agg(e.position order by e.position) filter (where not e.failed) as late,
           array_agg(e.key order by e.position) filter (where not e.failed) as late_keys
    from events e group by e.consumer order by e.consumer
  loop
    taken := taken + held.count;
    if held.positions is not null then
      perform delivery_fail(p_cursor, held.consumer, held.positions, held.keys, p_error, 0, false);
    end if;
    if held.late is not null then perform group_wait_behind(p_cursor, held.late, held.late_keys); end if;
  end loop;
  return taken;
end $$;
