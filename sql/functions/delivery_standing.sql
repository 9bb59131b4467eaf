-- What a token means whose event is not in its lease: 1 = settled already, 2 = stale. Settled is what was handed out, was not
-- taken back, and is not out or waiting now: a crash of the database may have forgotten the lease.
create or replace function delivery_standing(p_cursor bigint, p_step bigint, p_part smallint, p_positions bigint[]) returns smallint[]
language plpgsql stable as $$
declare
  place bigint;
  asked bigint[];
  lowest bigint;
  highest bigint;
  is_open bigint[] := '{}';
begin
  select s.position into place from cursor_steps s where s.cursor_id = p_cursor order by s.step desc limit 1;
  select array_agg(u.position), min(u.position), max(u.position) into asked, lowest, highest
    from unnest(p_positions) u(position)
    where u.position <= place and not exists (
      select from revoked_deliveries r
      where r.cursor_id = p_cursor and r.step = p_step and r.part = p_part and u.position = any(r.positions));
  -- By one pass over the batches that they may stand in: each by itself would cost as many.
  if asked is not null then
    is_open := array(
      select u.position from deliveries d cross join lateral unnest(d.positions) u(position)
      where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] <= highest and d.positions[cardinality(d.positions)] >= lowest
        -- In a case it is a probe of a hash table, whatever joins are allowed.
        and case when u.position in (select a.position from unnest(asked) a(position)) then true end);
  end if;
  return array(
    select case when u.position = any(asked) and u.position <> all(is_open) then 1 else 2 end::smallint
    from unnest(p_positions) with ordinality u(position, n) order by u.n);
end $$;
