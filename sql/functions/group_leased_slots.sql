-- The slots of a consumer group of which something is out.
create or replace function group_leased_slots(p_cursor bigint, p_slots int) returns int[]
language sql stable as $$
  select coalesce(array_agg(distinct (k.key % p_slots)::int), '{}')
  from deliveries d cross join lateral unnest(d.keys) k(key)
  where d.cursor_id = p_cursor and d.consumer > ''
$$;
