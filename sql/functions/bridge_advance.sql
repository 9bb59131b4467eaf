-- Notes up to where streams are published, while the lease is held in this epoch. Never backwards; but anew, after JetStream was
-- asked, whatever was noted before. p_cursors: rows of bridge_cursors as JSON, without their times. The time is that of the last
-- confirmation, which moves an offset and a sequence; before the first it is -infinity.
create or replace function bridge_advance(p_owner uuid, p_epoch bigint, p_cursors json, p_anew boolean) returns void
language plpgsql as $$
begin
  perform lease_check('bridge', p_owner, p_epoch);
  -- One that was made anew may have room for what the last one of its name did not take.
  delete from bridge_withheld w using json_populate_recordset(null::bridge_cursors, p_cursors) n
    where p_anew and w.stream_id = n.stream_id and w.nats_stream = n.nats_stream and w.nats_created <> n.nats_created;
  insert into bridge_cursors as c (stream_id, nats_stream, nats_created, nats_sequence, "offset", position, log_id, updated_at)
    select n.stream_id, n.nats_stream, n.nats_created, n.nats_sequence, n."offset", n.position, n.log_id,
           case when n."offset" < 0 then '-infinity' else clock_timestamp() end
    from json_populate_recordset(null::bridge_cursors, p_cursors) n
      -- One that was removed meanwhile takes no other along.
      join streams s on s.id = n.stream_id
    order by n.stream_id
    on conflict (stream_id) do update
      set nats_stream = excluded.nats_stream, nats_created = excluded.nats_created, nats_sequence = excluded.nats_sequence,
          "offset" = excluded."offset", position = excluded.position, log_id = excluded.log_id,
          updated_at = case
            when excluded."offset" < 0
              or excluded."offset" > c."offset" and (excluded.nats_sequence > c.nats_sequence
                or excluded.nats_stream <> c.nats_stream or excluded.nats_created <> c.nats_created)
              then excluded.updated_at
            else c.updated_at
          end
      where p_anew or c.nats_stream = excluded.nats_stream and c.nats_created = excluded.nats_created
        and c."offset" <= excluded."offset" and c.nats_sequence <= excluded.nats_sequence;
end $$;
