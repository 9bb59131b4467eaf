-- The next positions of the events of a correlation, in all persistent streams, in the order of the log: p_limit of them
-- between p_cursor, exclusive, and p_end, inclusive. Some may be trimmed.
create or replace function correlated_positions(p_correlation text, p_cursor bigint, p_end bigint, p_forward boolean, p_limit int)
returns bigint[]
language plpgsql stable
-- Compared and ordered by rows, so that nothing but the index of correlations serves: a correlation that seems frequent, by
-- what the planner knows of the others, is else looked for event by event through the whole log.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
  if p_forward then
    return array(
      select e.position from events e
      where not e.ephemeral and e.correlation_id is not null
        and (e.correlation_id, e.position) > (p_correlation, p_cursor) and (e.correlation_id, e.position) <= (p_correlation, p_end)
        and e.position > p_cursor and e.position <= p_end
      order by e.correlation_id, e.position limit p_limit);
  end if;
  return array(
    select e.position from events e
    where not e.ephemeral and e.correlation_id is not null
      and (e.correlation_id, e.position) < (p_correlation, p_cursor) and (e.correlation_id, e.position) >= (p_correlation, p_end)
      and e.position < p_cursor and e.position >= p_end
    order by e.correlation_id desc, e.position desc limit p_limit);
end $$;
