-- Removes rows of deleted and trimmed events from the disk, about p_limit of them, of the streams behind p_after in the
-- order of their ids. Returns how many rows went, and the last stream that was come to (null behind the last one).
--
-- One process does so at a time. No row that an append or a trim locks is touched until the end.
create or replace function stream_purge(p_after bigint, p_limit int, out gone int, out reached bigint)
language plpgsql
-- Index probes only: fresh statistics lag behind a burst.
set enable_seqscan = off
as $$
declare
  p record;
  done_ids bigint[] := '{}';
  done_offsets bigint[] := '{}';
  first_row record;
  last_row record;
  upto bigint;
  removed int;
begin
  gone := 0;
  if not pg_try_advisory_xact_lock(log_lock() + 2) then return; end if;
  -- A purge that is lost in a crash is done again.
  perform set_config('synchronous_commit', 'off', true);
  for p in
    select q.stream_id, q.from_offset, q.to_offset from stream_purges q
    where q.stream_id > p_after order by q.stream_id limit 200
  loop
    exit when gone >= p_limit;
    reached := p.stream_id;
    -- What left with its partition is not there any more. An offset never exceeds its event's position.
    select e."offset", e.position into first_row from events e
      where e.stream_id = p.stream_id and e."offset" >= p.from_offset and e."offset" < p.to_offset and e.position >= p.from_offset
      order by e."offset" limit 1;
    upto := p.to_offset;
    if first_row."offset" is not null then
      upto := least(upto, first_row."offset" + p_limit - gone);
      select e.position into last_row from events e
        where e.stream_id = p.stream_id and e."offset" >= first_row."offset" and e."offset" < upto and e.position >= first_row.position
        order by e."offset" desc limit 1;
      delete from events e
        where e.stream_id = p.stream_id and e."offset" >= first_row."offset" and e."offset" < upto
          and e.position between first_row.position and last_row.position;
      get diagnostics removed = row_count;
      gone := gone + removed;
    end if;
    done_ids := done_ids || p.stream_id;
    done_offsets := done_offsets || upto;
  end loop;
  -- In the order in which a trim writes them.
  perform from stream_purges q where q.stream_id = any(done_ids) order by q.stream_id for update;
  update stream_purges q set from_offset = d.upto
    from unnest(done_ids, done_offsets) as d(id, upto) where q.stream_id = d.id;
  -- It may have been trimmed further meanwhile.
  delete from stream_purges q where q.stream_id = any(done_ids) and q.from_offset >= q.to_offset;
end $$;
