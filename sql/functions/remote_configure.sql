-- Puts a remote stream, and the local stream of its name where there is none. Returns whether it is new. One that is put with
-- another source begins with the first message of that; who mirrors it meanwhile has to look again.
create or replace function remote_configure(
  p_name text, p_source json, p_max_deliveries int,
  p_backoff_initial_ms int, p_backoff_factor double precision, p_backoff_max_ms int
) returns boolean
language plpgsql as $$
declare
  is_new boolean;
begin
  -- Before its origins: a move that is under way notes one behind the delete otherwise.
  perform from remote_streams r where r.name = p_name for no key update;
  -- What was seen of one source says nothing of what another one has: it is told apart by ids.
  delete from remote_origins o using remote_streams r
    where r.name = p_name and r.source::text <> p_source::text and o.remote_id = r.id;
  update remote_standings t set last_error = null, last_error_at = null
    from remote_streams r where r.name = p_name and r.source::text <> p_source::text and t.remote_id = r.id;
  insert into streams (name) values (p_name) on conflict (name) do nothing;
  update streams s set created_at = date_trunc('milliseconds', clock_timestamp()) where s.name = p_name and s.created_at is null;
  insert into remote_streams as r (name, source, max_deliveries, backoff_initial_ms, backoff_factor, backoff_max_ms)
    values (p_name, p_source, p_max_deliveries, p_backoff_initial_ms, p_backoff_factor, p_backoff_max_ms)
    on conflict (name) do update
      set source = excluded.source, max_deliveries = excluded.max_deliveries, backoff_initial_ms = excluded.backoff_initial_ms,
          backoff_factor = excluded.backoff_factor, backoff_max_ms = excluded.backoff_max_ms,
          revision = r.revision + case when r.source::text = excluded.source::text then 0 else 1 end,
          -- The stream is kept without its time: that is where the consumer of the former source is to be taken away.
          jetstream_created = case when r.source::text = excluded.source::text then r.jetstream_created else '' end,
          sequence = case when r.source::text = excluded.source::text then r.sequence else 0 end,
          stored_ms = case when r.source::text = excluded.source::text then r.stored_ms end
    returning xmax = 0 into is_new;
  return is_new;
end $$;
