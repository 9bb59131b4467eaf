-- Takes events of certain keys out of the batches of a consumer group that are in one state: of each of p_keys, which are sorted,
-- those behind the position in p_behind. What is taken out of leases is revoked. Returns the events in order, null when there are
-- none. The caller has locked the cursor, and puts them elsewhere.
create or replace function group_take_out(
  p_cursor bigint, p_state text, p_keys bigint[], p_behind bigint[], out positions bigint[], out keys bigint[]
)
language plpgsql as $$
declare
  held record;
begin
  -- A query for each state: one for all could use no index. Every event is looked up by bisection.
  if p_state = 'leased' then
    select array_agg(h.step) as steps, array_agg(h.part) as parts, array_agg(h.piece) as pieces into held
      from (
        select d.step, d.part, d.piece from deliveries d
        where d.cursor_id = p_cursor and d.consumer > ''
          and exists (select from unnest(d.positions, d.keys) u(position, key)
                      where p_keys[width_bucket(u.key, p_keys)] = u.key and u.position > p_behind[width_bucket(u.key, p_keys)])
        order by d.step, d.part, d.piece for update
      ) h;
  elsif p_state = 'ready' then
    select array_agg(h.step) as steps, array_agg(h.part) as parts, array_agg(h.piece) as pieces into held
      from deliveries h
      where h.cursor_id = p_cursor and h.owner >= ''
        and exists (select from unnest(h.keys) u(key) where p_keys[width_bucket(u.key, p_keys)] = u.key);
  else
    select array_agg(h.step) as steps, array_agg(h.part) as parts, array_agg(h.piece) as pieces into held
      from deliveries h
      where h.cursor_id = p_cursor and h.due > '-infinity' and h.due = 'infinity' and h.state = 'parked'
        and exists (select from unnest(h.keys) u(key) where p_keys[width_bucket(u.key, p_keys)] = u.key);
  end if;
  if held.steps is null then return; end if;
  -- With the cursor in the list every batch is found by its whole key; by the parameter, all of the index would be read.
  with listed as materialized (
    select p_cursor as cursor_id, u.* from unnest(held.steps, held.parts, held.pieces) u(step, part, piece)
  ), events as materialized (
    select d.cursor_id, d.step, d.part, d.piece, u.position, u.key, u.n,
           coalesce(p_keys[width_bucket(u.key, p_keys)] = u.key and u.position > p_behind[width_bucket(u.key, p_keys)], false) as taken
    from listed l
      join deliveries d on d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part and d.piece = l.piece
      cross join lateral unnest(d.positions, d.keys) with ordinality u(position, key, n)
  ), cut as materialized (
    select e.cursor_id, e.step, e.part, e.piece,
           array_agg(e.position order by e.n) filter (where e.taken) as taken,
           array_agg(e.position order by e.n) filter (where not e.taken) as rest,
           array_agg(e.key order by e.n) filter (where not e.taken) as rest_keys
    from events e group by 1, 2, 3, 4
  ), emptied as (
    delete from deliveries d using cut c
      where d.step = c.step and d.cursor_id = c.cursor_id and d.part = c.part and d.piece = c.piece and c.rest is null
  ), shortened as (
    update deliveries d set positions = c.rest, keys = c.rest_keys from cut c
      where d.step = c.step and d.cursor_id = c.cursor_id and d.part = c.part and d.piece = c.piece and c.rest is not null and c.taken is not null
  ), revoked as (
    insert into revoked_deliveries as r (cursor_id, step, part, positions, revoked_at)
      select p_cursor, e.step, e.part, array_agg(e.position order by e.position), clock_timestamp()
      from events e where e.taken and p_state = 'leased' group by e.step, e.part
      on conflict (cursor_id, step, part) do update set positions = r.positions || excluded.positions, revoked_at = excluded.revoked_at
  )
  select array_agg(e.position order by e.position), array_agg(e.key order by e.position) into positions, keys
    from events e where e.taken;
end $$;
