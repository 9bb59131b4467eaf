-- Moves the cursors of mirrors, and keeps the messages that could not become events. p_status: of the requests that the moves go
-- with, as log_append answers it, where a move is made only with what is stored; null where none goes with a request.
create or replace function remote_move(p_moves json, p_status int[]) returns void
language plpgsql as $$
declare
  made json;
begin
  select json_agg(m.move) into made
    from json_array_elements(p_moves) m(move)
    where p_status is null or p_status[(m.move ->> 'request')::int] in (0, 1, 6);
  if made is null then return; end if;

  update remote_streams r
    set revision = r.revision + 1, jetstream = m.jetstream, jetstream_created = m.created, sequence = m.sequence,
        stored_ms = m."storedMs"
    from json_to_recordset(made) m(remote bigint, jetstream text, created text, sequence bigint, "storedMs" bigint)
    where r.id = m.remote and m.jetstream is not null;

  insert into remote_origins as r (remote_id, log_id, stream, "offset")
    select m.remote, o."logId", o.stream, o."offset"
    from json_to_recordset(made) m(remote bigint, origins json)
      cross join lateral json_to_recordset(m.origins) o("logId" text, stream text, "offset" bigint)
    order by 1, 2, 3
    on conflict (remote_id, log_id, stream) do update set "offset" = excluded."offset"
      where r."offset" < excluded."offset";

  insert into remote_dead_letters (remote_id, jetstream, sequence, stored_ms, subject, headers, payload, reason, detail, attempts, due_at)
    select m.remote, l.jetstream, l.sequence, l."storedMs", l.subject, l.headers, decode(l.payload, 'base64'), l.reason, l.detail, 1,
           clock_timestamp() + l."retryMs" * interval '1 ms'
    from json_to_recordset(made) m(remote bigint, letters json)
      cross join lateral json_to_recordset(m.letters)
        l(jetstream text, sequence bigint, "storedMs" bigint, subject text, headers json, payload text, reason text, detail text,
          "retryMs" bigint)
    order by l.sequence;

  delete from remote_dead_letters d
    using json_to_recordset(made) m(settled bigint[])
    where d.id = any(m.settled);
end $$;
