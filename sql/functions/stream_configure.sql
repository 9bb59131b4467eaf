-- Creates a stream or changes its configuration. Returns created or configured; or type-fixed where there is a stream of the
-- other type, delivery-in-use where it would promise less than before and than a subscription of it, nats-name-taken where another
-- stream has its name or its subjects in NATS: nothing is changed then. p_nats: what it has in NATS, as a row of
-- cross_service_streams without its id; null where its scope is internal.
create or replace function stream_configure(
  p_name text, p_ephemeral boolean, p_delivery text, p_replay boolean,
  p_max_age_ms bigint, p_max_bytes bigint, p_max_events bigint,
  p_visibility_timeout_ms int, p_max_attempts int,
  p_backoff_initial_ms int, p_backoff_factor double precision, p_backoff_max_ms int, p_validation int default 0,
  p_nats json default null
) returns text
language plpgsql as $$
declare
  s streams;
  inserted boolean;
  given cross_service_streams;
begin
  -- A row without an event may be removed between the two.
  loop
    insert into streams (name) values (p_name) on conflict (name) do nothing;
    inserted := found;
    select * into s from streams st where st.name = p_name for no key update;
    exit when found;
  end loop;
  if s.created_at is not null and s.ephemeral <> p_ephemeral then return 'type-fixed'; end if;
  -- One that is not there has the delivery of a new one, which subscriptions of it go by. Its queue follows it.
  if delivery_strength(p_delivery) < delivery_strength(s.delivery) then
    perform delivery_bound_lock(array[p_name], true);
    if exists (select from subscription_streams t join subscriptions sub on sub.id = t.subscription_id
               where t.stream = p_name and sub.queue_of is null and sub.deleted_at is null
                 and delivery_strength(sub.delivery) > delivery_strength(p_delivery)) then
      -- A stream that was not there leaves no row behind.
      delete from streams st where st.id = s.id and inserted;
      return 'delivery-in-use';
    end if;
  end if;
  if p_nats is null then
    delete from cross_service_streams c where c.stream_id = s.id;
  else
    -- Two that would take overlapping subjects come one after the other.
    lock table cross_service_streams in share row exclusive mode;
    given := json_populate_record(null::cross_service_streams, p_nats);
    if exists (select from cross_service_streams c where c.stream_id <> s.id
               and (c.nats_stream = given.nats_stream or nats_subjects_overlap(c.nats_subject, given.nats_subject))) then
      delete from streams st where st.id = s.id and inserted;
      return 'nats-name-taken';
    end if;
    delete from cross_service_streams c where c.stream_id = s.id;
    given.stream_id := s.id;
    insert into cross_service_streams select given.*;
  end if;
  update streams st
    set created_at = coalesce(st.created_at, date_trunc('milliseconds', clock_timestamp())), revision = st.revision + 1,
        ephemeral = p_ephemeral, delivery = p_delivery, replay = p_replay,
        max_age_ms = p_max_age_ms, max_bytes = p_max_bytes, max_events = p_max_events,
        visibility_timeout_ms = p_visibility_timeout_ms, max_attempts = p_max_attempts,
        backoff_initial_ms = p_backoff_initial_ms, backoff_factor = p_backoff_factor, backoff_max_ms = p_backoff_max_ms,
        validation = p_validation
    where st.id = s.id;
  return case when s.created_at is null then 'created' else 'configured' end;
end $$;
