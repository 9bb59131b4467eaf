-- Deletes a stream: hides its events at once and for good, records that in the log, and leaves the rows to the purge.
-- Its offsets go on if the name is used again, with the configuration of a new stream. Its queue is gone at once too; what
-- the ledgers hold of its events goes in the background. Returns no row when there is no such stream.
create or replace function stream_delete(p_name text)
returns table (first_offset bigint, last_offset bigint, "position" bigint)
language plpgsql as $$
declare
  head record;
begin
  -- Stronger than an append's lock: a snapshot that is being saved is waited for, and goes too.
  perform from streams s where s.name = p_name and not s.internal for update;
  select h.*, s.first_bytes into head from stream_heads h join streams s using (id)
    where h.name = p_name and h.created_at is not null and not h.internal;
  if not found then return; end if;
  first_offset := head.first_offset;
  last_offset := head.last_offset;
  update streams s
    set created_at = null, revision = s.revision + 1, ephemeral = false, delivery = default, replay = true,
        max_age_ms = null, max_bytes = null, max_events = null, visibility_timeout_ms = default, max_attempts = default,
        backoff_initial_ms = default, backoff_factor = default, backoff_max_ms = default, validation = default,
        first_offset = head.last_offset + 1, born_offset = head.last_offset + 1,
        first_bytes = head.bytes + head.first_bytes, checkpoint_offset = head.last_offset,
        checkpoint_bytes = head.bytes + head.first_bytes, checkpoint_position = head.last_position
    where s.id = head.id;
  if head.last_offset >= 0 then
    insert into stream_purges (stream_id, from_offset, to_offset)
      values (head.id, head.first_offset, head.last_offset + 1)
      on conflict (stream_id) do update set to_offset = excluded.to_offset;
    insert into event_id_horizons (trimmed_before, stream_id, below_offset)
      values ('-infinity', head.id, head.last_offset + 1)
      on conflict (trimmed_before, stream_id) do update set below_offset = excluded.below_offset;
  end if;
  delete from snapshots n where n.stream_id = head.id;
  -- Its names in NATS are free again. The cursor stays: offsets go on, and so does what is published of them.
  delete from cross_service_streams c where c.stream_id = head.id;
  delete from bridge_states b where b.stream_id = head.id;
  perform subscription_retire(s.id) from subscriptions s where s.queue_of = p_name;
  "position" := log_control('sluice.stream-deleted',
    json_build_object('stream', p_name, 'from', head.first_offset::text, 'to', head.last_offset::text));
  insert into stream_deletions (position, stream) values ("position", p_name);
  return next;
end $$;
