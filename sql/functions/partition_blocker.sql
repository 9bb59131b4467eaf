-- A visible event that keeps a partition from being removed; null when there is none. The service's own records count as
-- gone once they are older than a time.
create or replace function partition_blocker(
  p_partition text, p_records_before timestamptz,
  out stream_id bigint, out "offset" bigint
)
language plpgsql stable
set enable_seqscan = off
as $$
begin
  -- From stream to stream along the index, to each one's last event only.
  execute format($q$
    with recursive own(id) as (
      (select e.stream_id from %1$I e order by e.stream_id limit 1)
      union all
      select (select e.stream_id from %1$I e where e.stream_id > o.id order by e.stream_id limit 1)
      from own o where o.id is not null
    )
    select s.id, l."offset"
    from own o join streams s on s.id = o.id
      cross join lateral (
        select e."offset", e.recorded_at from %1$I e where e.stream_id = s.id order by e."offset" desc limit 1
      ) l
    where l."offset" >= s.first_offset and (not s.internal or l.recorded_at >= $1)
    limit 1
  $q$, p_partition) into stream_id, "offset" using p_records_before;
end $$;
