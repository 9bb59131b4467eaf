-- The first event of a stream at or behind a position; all null when there is none. One family is asked by name: its
-- partitions are looked into one after the other, and those behind the event not at all.
create or replace function stream_event_from(
  p_stream_id bigint, p_ephemeral boolean, p_position bigint,
  out "offset" bigint, out "position" bigint, out bytes_before bigint
)
language plpgsql stable as $$
begin
  if p_ephemeral then
    select e."offset", e.position, e.stream_bytes - e.bytes into "offset", "position", bytes_before
      from events_ephemeral e where e.stream_id = p_stream_id and e.position >= p_position order by e.position limit 1;
  else
    select e."offset", e.position, e.stream_bytes - e.bytes into "offset", "position", bytes_before
      from events_persistent e where e.stream_id = p_stream_id and e.position >= p_position order by e.position limit 1;
  end if;
end $$;
