-- Where each stream begins and ends, and its size, at the same cost for a stream of any length.
create or replace view stream_heads as
select s.id, s.name, s.created_at, s.ephemeral, s.replay, s.internal, s.first_offset, l.log_id,
       coalesce(e."offset", s.checkpoint_offset) as last_offset,
       coalesce(e.position, s.checkpoint_position) as last_position,
       coalesce(e.stream_bytes, s.checkpoint_bytes) - s.first_bytes as bytes,
       s.delivery, s.max_age_ms, s.max_bytes, s.max_events, s.visibility_timeout_ms, s.max_attempts,
       s.backoff_initial_ms, s.backoff_factor, s.backoff_max_ms, s.validation,
       (select row_to_json(c) from cross_service_streams c where c.stream_id = s.id) as cross_service
from log l cross join streams s
left join lateral (
  select ev."offset", ev.position, ev.stream_bytes from events ev
  where ev.stream_id = s.id and ev.position >= l.checkpoint_position
  order by ev."offset" desc limit 1
) e on true;
