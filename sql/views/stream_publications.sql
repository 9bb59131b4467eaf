-- How far each cross-service stream is published, as far as that is noted.
create or replace view stream_publications as
select h.name as stream, c.nats_stream as jetstream, c.nats_subject as subject,
       case when l.name is null then 'waiting' else coalesce(b.state, 'waiting') end as state,
       case when l.name is null then null else b.error end as error, b.since,
       coalesce(k."offset", -1) as "offset", k.nats_sequence as sequence, k.nats_created as created,
       nullif(k.updated_at, '-infinity') as confirmed_at,
       greatest(h.last_offset - greatest(coalesce(k."offset", -1), h.first_offset - 1) - w.ahead, 0) as lag_events,
       case when h.last_offset <= coalesce(k."offset", -1) then 0
            else coalesce(greatest(extract(epoch from clock_timestamp() - n.recorded_at), 0), 0) end::double precision as lag_seconds,
       w.total as withheld
from cross_service_streams c
join stream_heads h on h.id = c.stream_id
left join bridge_states b on b.stream_id = c.stream_id
left join bridge_cursors k on k.stream_id = c.stream_id and k.nats_stream = c.nats_stream
left join leases l on l.name = 'bridge' and l.until > clock_timestamp()
cross join lateral (
  select count(*) as total, count(*) filter (where x."offset" > coalesce(k."offset", -1)) as ahead
  from bridge_withheld x where x.stream_id = c.stream_id and x.nats_stream = c.nats_stream
) w
-- The first event that is not known to be published.
left join lateral (
  select e.recorded_at from events e
  where e.stream_id = c.stream_id and e.position > coalesce(k.position, -1)
    and e."offset" >= greatest(coalesce(k."offset", -1) + 1, h.first_offset)
    and not exists (select 
      from bridge_withheld x where x.stream_id = c.stream_id and x.nats_stream = c.nats_stream and x."offset" = e."offset"
    )
  order by e.position limit 1
) n on true;
