-- Enters events that wait in a consumer group and may go at once, in batches of a size that can be rewritten when a few events
-- of one are taken. Positions ascend, null where there are none; the caller has locked the cursor.
create or replace function group_enter(p_cursor bigint, p_positions bigint[], p_keys bigint[]) returns void
language plpgsql as $$
begin
  for i in 1 .. coalesce(cardinality(p_positions), 0) by 1000 loop
    perform delivery_wait(p_cursor, p_positions[i : i + 999], p_keys[i : i + 999], clock_timestamp());
  end loop;
end $$;
