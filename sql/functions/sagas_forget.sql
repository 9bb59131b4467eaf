-- Forgets sagas that were completed or compensated long ago, some at a time, and the leases of processes that are long gone.
-- Answers how many sagas. Those that have failed stay until somebody sees to them.
create or replace function sagas_forget(p_window interval, p_limit int) returns int
language plpgsql as $$
declare
  before constant timestamptz := clock_timestamp() - p_window;
  forgotten int;
begin
  delete from leases l where l.name like 'sagas:%' and l.until < clock_timestamp() - interval '1 day';
  delete from sagas s where s.number in (
    select g.number from sagas g
    where g.ended_at < before and g.state <> 'Failed'
    order by g.ended_at limit p_limit for update skip locked);
  get diagnostics forgotten = row_count;
  return forgotten;
end $$;
