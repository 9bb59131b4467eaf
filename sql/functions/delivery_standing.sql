-- What a token means whose event is not in its lease: 1 = settled already, 2 = stale. Settled is what was handed out, was not
-- taken back, and is not out or waiting now: a crash of the database may have forgotten the lease.
create or replace function delivery_standing(p_cursor bigint, p_step bigint, p_part smallint, p_positions bigint[]) returns smallint[]
language sql stable as $$
  select array_agg(case
      when u.position = any(r.positions) or s.position is null or u.position > s.position then 2
      when exists (select from deliveries d where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] <= u.position
                     and u.position = any(d.positions)) then 2
      else 1 end order by u.n)
  from unnest(p_positions) with ordinality u(position, n)
  left join revoked_deliveries r on r.cursor_id = p_cursor and r.step = p_step and r.part = p_part
  left join lateral (select c.position from cursor_steps c where c.cursor_id = p_cursor order by c.step desc limit 1) s on true
$$;
