-- Enters events of a consumer group that were taken back only because an earlier one of their key has failed: they wait behind
-- it, and have not failed themselves. What is marked as processed is settled instead. The caller has locked the cursor.
create or replace function group_wait_behind(p_cursor bigint, p_positions bigint[], p_keys bigint[]) returns void
language plpgsql as $$
declare
  marked constant bigint[] := processed_settle(p_cursor, p_positions);
begin
  if marked <> '{}' then
    select array_agg(u.position order by u.position), array_agg(u.key order by u.position) into p_positions, p_keys
      from unnest(p_positions, p_keys) u(position, key) where u.position <> all(marked);
  end if;
  perform group_enter(p_cursor, p_positions, p_keys);
end $$;
