-- Forgets some ids of events that were trimmed before a time, or deleted; returns how many, null when there is nothing to
-- do. One process does so at a time, and what a trim or a deletion locks is touched at the end only.
create or replace function event_ids_forget(p_before timestamptz, p_limit int) returns int
language plpgsql
set enable_seqscan = off
as $$
declare
  h record;
  below bigint;
  gone int;
begin
  if not pg_try_advisory_xact_lock(log_lock() + 3) then return null; end if;
  perform set_config('synchronous_commit', 'off', true);
  select * into h from event_id_horizons where trimmed_before < p_before order by trimmed_before, stream_id limit 1;
  if not found then return null; end if;
  select i."offset" into below from event_ids i
    where i.stream_id = h.stream_id and i."offset" >= 0 and i."offset" < h.below_offset
    order by i."offset" offset p_limit limit 1;
  below := coalesce(below, h.below_offset);
  delete from event_ids i where i.stream_id = h.stream_id and i."offset" >= 0 and i."offset" < below;
  get diagnostics gone = row_count;
  delete from event_id_horizons
    where trimmed_before = h.trimmed_before and stream_id = h.stream_id and below_offset <= below;
  return gone;
end $$;
