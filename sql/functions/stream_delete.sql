-- Deletes a stream: hides its events at once and for good, records that in the log, and leaves the rows to the purge.
-- Its offsets go on if the name is used again. Returns no row when there is no such stream.
create or replace function stream_delete(p_name text)
returns table (first_offset bigint, last_offset bigint, "position" bigint)
language plpgsql as $$
declare
  head record;
begin
  perform from streams s where s.name = p_name and not s.internal for no key update;
  select h.*, s.first_bytes into head from stream_heads h join streams s using (id)
    where h.name = p_name and h.created_at is not null and not h.internal;
  if not found then return; end if;
  first_offset := head.first_offset;
  last_offset := head.last_offset;
  "position" := log_control('sluice.stream-deleted',
    json_build_object('stream', p_name, 'from', head.first_offset::text, 'to', head.last_offset::text));
  update streams s
    set created_at = null, replay = true, first_offset = head.last_offset + 1, born_offset = head.last_offset + 1,
        first_bytes = head.bytes + head.first_bytes, checkpoint_offset = head.last_offset,
        checkpoint_bytes = head.bytes + head.first_bytes, checkpoint_position = head.last_position
    where s.id = head.id;
  return next;
end $$;
