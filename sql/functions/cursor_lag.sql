-- How far a cursor is behind: the events that it has yet to hand out and those that are out or wait (p_unsettled), and for how
-- many seconds the oldest of them has been in the log. p_cursor: null, where a subscription has none yet; p_place: where it
-- stands. p_limit bounds the cost, as subscription_backlog says.
create or replace function cursor_lag(
  p_subscription bigint, p_cursor bigint, p_place bigint, p_unsettled bigint, p_limit int,
  out events bigint, out is_least boolean, out seconds double precision
)
language plpgsql stable as $$
declare
  first_position bigint;
  oldest_at timestamptz;
begin
  if exists (select from cursor_ends e where e.cursor_id = p_cursor and e.position = p_place) then
    -- What lies behind its end is not to come.
    events := p_unsettled;
    is_least := false;
  else
    select p_unsettled + b.events, b.is_least, b.first_at into events, is_least, oldest_at
      from subscription_backlog(p_subscription, p_place, p_limit) b;
  end if;
  if p_unsettled > 0 then
    select d.positions[1] into first_position from deliveries d
      where d.cursor_id = p_cursor and d.positions[1] > -1 order by d.positions[1] limit 1;
    -- Its stream may have forgotten the event: the next one in the log is about as old.
    oldest_at := coalesce(
      least(oldest_at, (select e.recorded_at from events e where e.position >= first_position order by e.position limit 1)), clock_timestamp());
  end if;
  seconds := greatest(0, coalesce(round(extract(epoch from clock_timestamp() - oldest_at)::numeric, 3), 0));
end $$;
