-- Cursors under which something is out or waits, p_limit of them in the order of their ids behind p_after, and whether a
-- lease of theirs has been overdue since before p_before; p_since: nothing is that was due earlier.
create or replace function cursors_with_deliveries(p_after bigint, p_limit int, p_since timestamptz, p_before timestamptz)
returns table (cursor_id bigint, overdue boolean)
language sql stable
-- From one cursor to the next by index probes: the table may hold many rows of each.
set enable_seqscan = off
as $$
  with recursive c(id, n) as (
    (select d.cursor_id, 1 from deliveries d where d.cursor_id > p_after and d.due > '-infinity' order by d.cursor_id limit 1)
    union all
    select (select d.cursor_id from deliveries d where d.cursor_id > c.id and d.due > '-infinity' order by d.cursor_id limit 1), c.n + 1
    from c where c.id is not null and c.n < p_limit
  )
  select c.id, coalesce((select true from deliveries d where d.cursor_id = c.id and d.due > '-infinity' and d.due >= p_since
                           and d.due <= p_before and d.state = 'leased' limit 1), false)
  from c where c.id is not null
$$;
