-- The first position recorded at or after a time, p_head + 1 when there is none: recorded_at never runs backwards along
-- positions, so a binary search needs no index on it.
create or replace function log_position_at(p_time timestamptz, p_head bigint) returns bigint
language plpgsql stable as $$
declare
  low bigint := 0;
  high bigint := p_head + 1;
  middle bigint;
  found_position bigint;
  found_time timestamptz;
begin
  while low < high loop
    middle := (low + high) / 2;
    select e.position, e.recorded_at into found_position, found_time
      from events e where e.position >= middle and e.position < high order by e.position limit 1;
    if found_position is null or found_time >= p_time then
      high := middle;
    else
      low := found_position + 1;
    end if;
  end loop;
  return low;
end $$;
