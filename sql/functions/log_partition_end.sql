-- The position at which the attached partitions of a family end (exclusive): beyond it nothing can be appended.
create or replace function log_partition_end(p_ephemeral boolean) returns bigint
language sql stable as $$
  select coalesce(max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''?(\d+)''?\)'))[1]::bigint), 0)
  from pg_inherits i
  join pg_class c on c.oid = i.inhrelid
  where i.inhparent = (case when p_ephemeral then 'events_ephemeral' else 'events_persistent' end)::regclass
$$;
