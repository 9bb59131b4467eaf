-- Takes some events out of one lease, and says of the others whether they are settled already (1) or the token is stale (2).
-- p_settled: they are settled, and what has failed of them before is forgotten.
create or replace function delivery_settle_some(
  p_cursor bigint, p_step bigint, p_part smallint, p_consumer text, p_positions bigint[], p_settled boolean
) returns smallint[]
language plpgsql as $$
declare
  held record;
  settled bigint[] := '{}';
  here bigint[];
  others bigint[];
  results smallint[];
begin
  for held in
    select d.piece, d.positions, d.retried from deliveries d
    where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.due > clock_timestamp()
      and (p_consumer is null or d.consumer = p_consumer)
    order by d.piece for update
  loop
    select array_agg(u.position) into here from unnest(held.positions) u(position) where u.position = any(p_positions);
    continue when here is null;
    settled := settled || here;
    perform delivery_take_out(p_step, p_cursor, p_part, held.piece, here);
    if p_settled and held.retried then
      delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(here);
    end if;
  end loop;
  results := array_fill(0::smallint, array[cardinality(p_positions)]);
  -- Mostly all of them: what the others mean is looked up only then.
  if cardinality(settled) < cardinality(p_positions) then
    others := array(select u.position from unnest(p_positions) u(position) where u.position <> all(settled));
    select array_agg(coalesce(o.standing, 0::smallint) order by u.n) into results
      from unnest(p_positions) with ordinality u(position, n)
      left join unnest(others, delivery_standing(p_cursor, p_step, p_part, others)) o(position, standing) on o.position = u.position;
  end if;
  return results;
end $$;
