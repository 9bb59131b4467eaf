-- Forgets marks that are older than p_before, but not of events that are still out: a mark must outlive its lease. It looks at
-- p_limit marks from p_after on. Returns how many went, and how far it came; null when there are no more.
create or replace function processed_forget(
  p_before timestamptz, p_after timestamptz, p_limit int, out gone int, out reached timestamptz
)
language plpgsql as $$
declare
  looked int;
begin
  perform set_config('synchronous_commit', 'off', true);
  with old as (
    select p.cursor_id, p.position, p.processed_at from processed_events p
    where p.processed_at > '-infinity' and p.processed_at > p_after and p.processed_at < p_before
    order by p.processed_at limit p_limit for update skip locked
  ), forgotten as (
    delete from processed_events p using old
      where p.cursor_id = old.cursor_id and p.position = old.position
        and not exists (select from deliveries d where d.cursor_id = old.cursor_id and d.positions[1] > -1
                          and d.positions[1] <= old.position and old.position = any(d.positions))
      returning p.position
  )
  select count(*), max(old.processed_at), (select count(*) from forgotten) into looked, reached, gone from old;
  if looked < p_limit then reached := null; end if;
end $$;
