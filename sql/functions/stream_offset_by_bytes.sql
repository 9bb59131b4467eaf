-- The first offset of a stream before which it has at least so many bytes, by binary search over positions: each event
-- stores the sum of the bytes up to itself. Null when the last event ends before that.
create or replace function stream_offset_by_bytes(
  p_stream_id bigint, p_ephemeral boolean, p_bytes bigint, p_last_position bigint
) returns bigint
language plpgsql stable as $$
declare
  low bigint := 0;
  high bigint := p_last_position + 1;
  middle bigint;
  e record;
begin
  while low < high loop
    middle := (low + high) / 2;
    select * into e from stream_event_from(p_stream_id, p_ephemeral, middle);
    if e.position is null or e.bytes_before >= p_bytes then
      high := middle;
    else
      low := e.position + 1;
    end if;
  end loop;
  select * into e from stream_event_from(p_stream_id, p_ephemeral, low);
  return e."offset";
end $$;
