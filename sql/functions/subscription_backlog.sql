-- Counts the events of a subscription that lie behind a position, and finds when the first of them was recorded. Where the
-- subscription filters, or takes all streams, p_limit events are looked at, of each stream that it names: is_least says that there
-- may be more.
create or replace function subscription_backlog(
  p_subscription bigint, p_after bigint, p_limit int, out events bigint, out is_least boolean, out first_at timestamptz
)
language plpgsql stable
-- Planned once, as index probes: planning for every partition anew would cost more than the probes.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  s subscriptions;
  stream record;
  first_offset bigint;
  found_events bigint;
  found_at timestamptz;
  looked bigint;
begin
  events := 0;
  is_least := false;
  select sub.* into s from subscriptions sub where sub.id = p_subscription;
  if not found then return; end if;
  if exists (select from subscription_streams t where t.subscription_id = s.id and t.stream = '*') then
    select count(*) filter (where e.matches), min(e.recorded_at) filter (where e.matches), count(*) into events, first_at, looked
      from (
        select ev.recorded_at, (s.types is null or ev.type = any(s.types))
               and (s.path is null or coalesce(ev.data::jsonb @@ s.path::jsonpath, false)) as matches
        from events ev join streams st on st.id = ev.stream_id
        where ev.position > p_after and not ev.ephemeral and not st.internal and ev."offset" >= st.first_offset
        order by ev.position limit p_limit
      ) e;
    is_least := looked = p_limit;
    return;
  end if;
  if s.correlation is not null then
    select count(*) filter (where e.matches), min(e.recorded_at) filter (where e.matches), count(*) into events, first_at, looked
      from (
        select ev.recorded_at, (s.types is null or ev.type = any(s.types))
               and (s.path is null or coalesce(ev.data::jsonb @@ s.path::jsonpath, false)) as matches
        from events ev join streams st on st.id = ev.stream_id
        where ev.correlation_id = s.correlation and ev.position > p_after and not ev.ephemeral and not st.internal
          and ev."offset" >= st.first_offset
        order by ev.position limit p_limit
      ) e;
    is_least := looked = p_limit;
    return;
  end if;
  for stream in
    select h.id, h.ephemeral, h.first_offset, h.last_offset from subscription_streams t join stream_heads h on h.name = t.stream
    where t.subscription_id = s.id and h.last_position > p_after and h.last_offset >= h.first_offset
  loop
    -- What lies behind the last event up to the position: offsets have no gaps, so nothing needs counting.
    first_offset := greatest(stream.first_offset, (
      select e."offset" + 1 from events e where e.stream_id = stream.id and e.ephemeral = stream.ephemeral and e.position <= p_after
      order by e.position desc limit 1));
    if s.types is null and s.path is null then
      found_events := stream.last_offset - first_offset + 1;
      select e.recorded_at into found_at from events e
        where e.stream_id = stream.id and e.ephemeral = stream.ephemeral and e."offset" = first_offset and e.position > p_after limit 1;
    else
      select count(*) filter (where e.matches), min(e.recorded_at) filter (where e.matches) into found_events, found_at
        from (
          select ev.recorded_at, (s.types is null or ev.type = any(s.types))
                 and (s.path is null or coalesce(ev.data::jsonb @@ s.path::jsonpath, false)) as matches
          from events ev
          where ev.stream_id = stream.id and ev.ephemeral = stream.ephemeral and ev.position > p_after and ev."offset" >= first_offset
          order by ev.position limit p_limit
        ) e;
      is_least := is_least or stream.last_offset - first_offset + 1 > p_limit;
    end if;
    events := events + found_events;
    first_at := least(first_at, found_at);
  end loop;
end $$;
