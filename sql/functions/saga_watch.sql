-- Looks through the log from p_after to p_up_to, which is committed, for events that sagas wait for, and makes those sagas due.
-- Remembers the place where it made some due, or when p_save says so. Answers how far it looked, and how many became due.
--
-- What is waited for is found out here and now: a saga whose wait is committed later looks by itself after that, and finds what
-- lies before.
create or replace function saga_watch(
  p_lease text, p_owner uuid, p_epoch bigint, p_after bigint, p_up_to bigint, p_save boolean, out reached bigint, out woken int
)
language plpgsql as $$
declare
  types text[];
  -- Of them, those that some saga waits for by something else than its correlation.
  matched_types text[];
  ids uuid[];
begin
  perform lease_check(p_lease, p_owner, p_epoch);
  with recursive waiting as (
    (select s.waiting_type as type from sagas s where s.waiting_type is not null order by s.waiting_type limit 1)
    union all
    select (select s.waiting_type from sagas s where s.waiting_type > w.type order by s.waiting_type limit 1)
    from waiting w where w.type is not null
  )
  select coalesce(array_agg(w.type), '{}') into types from waiting w where w.type is not null;
  reached := p_up_to;
  woken := 0;
  if cardinality(types) > 0 then
    -- A piece at a time, however far it is behind.
    reached := least(p_up_to, p_after + 20000);
    ids := array(
      select w.id
      from (
        select distinct e.type, e.correlation_id from events e
        where e.position > p_after and e.position <= reached and e.type = any(types)
          and e.correlation_id is not null and not e.ephemeral
      ) e join sagas w on w.waiting_type = e.type and w.correlation_id = e.correlation_id and w.waiting_by is null);
    matched_types := array(
      select t.type from unnest(types) t(type)
      where exists (select from sagas s where s.waiting_type = t.type and s.waiting_by is not null));
    if cardinality(matched_types) > 0 then
      ids := ids || array(
        select w.id
        from (
          select distinct e.type, m.by, m.key collate "C" as key
          from events e join streams st on st.id = e.stream_id
            cross join lateral (values
              ('stream', st.name), ('subject', e.attributes ->> 'subject'), ('partition-key', e.partition_key)) m(by, key)
          where e.position > p_after and e.position <= reached and e.type = any(matched_types)
            and not e.ephemeral and m.key is not null
        ) e join sagas w on w.waiting_type = e.type and w.waiting_by = e.by and w.waiting_key = e.key);
    end if;
    -- Locked in one order by all that lock several.
    with found as materialized (
      select s.number from sagas s where s.id = any(ids) and not s.paused order by s.id for no key update
    )
    update sagas s set due_at = clock_timestamp() from found
      where s.number = found.number and s.waiting_type is not null and not s.paused;
    get diagnostics woken = row_count;
  end if;
  if p_save or woken > 0 then
    update saga_watch w set position = reached where w.position < reached;
  end if;
end $$;
