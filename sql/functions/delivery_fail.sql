-- Notes that events of a cursor were handed out in vain, and decides what becomes of them: another try after a delay, or
-- the dead letters. The caller has locked the cursor and taken the events out of their leases. p_keys: of a consumer group,
-- where later events of the same keys are taken back too and come again behind them. p_delay_ms: null = the subscription's
-- backoff. What is marked as processed is settled instead. p_dead: give all of them up at once. An event that is gone from the
-- log is gone here, unless it is a dead letter that was put back.
create or replace function delivery_fail(
  p_cursor bigint, p_consumer text, p_positions bigint[], p_keys bigint[], p_error text, p_delay_ms bigint, p_dead boolean
) returns void
language plpgsql as $$
declare
  s subscriptions;
  now_at constant timestamptz := clock_timestamp();
  dead bigint[];
  letters int;
  marked bigint[];
  again record;
begin
  if not p_dead then
    marked := processed_settle(p_cursor, p_positions);
    if marked <> '{}' then
      select array_agg(u.position order by u.position), case when p_keys is not null then array_agg(u.key order by u.position) end
        into p_positions, p_keys from unnest(p_positions, p_keys) u(position, key) where u.position <> all(marked);
      if p_positions is null then return; end if;
    end if;
  end if;
  select sub.* into s from subscriptions sub join subscription_cursors c on c.subscription_id = sub.id where c.id = p_cursor;
  insert into delivery_failures as f (cursor_id, position, attempts, first_error, first_at, last_error, last_at)
    select p_cursor, u.position, 1, p_error, now_at, p_error, now_at from unnest(p_positions) u(position)
    on conflict (cursor_id, position) do update
      set attempts = f.attempts + 1, last_error = excluded.last_error, last_at = excluded.last_at;

  with given_up as (
    delete from delivery_failures f
      where f.cursor_id = p_cursor and f.position = any(p_positions) and (p_dead or f.attempts >= s.max_attempts)
      returning f.*
  ), kept as (
    insert into dead_letters (
        subscription_id, cursor_id, consumer, position, stream, "offset", event_id, type, recorded_at, schema_version,
        correlation_id, partition_key, attributes, data, data_binary,
        reason, attempts, first_error, first_at, last_error, last_at, dead_at)
      select s.id, p_cursor, p_consumer, g.position, e.stream, e."offset", e.event_id, e.type, e.recorded_at, e.schema_version,
             e.correlation_id, e.partition_key, e.attributes, e.data, e.data_binary,
             case when p_dead then 'rejected' else 'max-attempts' end, g.attempts, g.first_error, g.first_at, g.last_error, g.last_at, now_at
      from given_up g cross join lateral (
        select st.name as stream, ev."offset", ev.id as event_id, ev.type, ev.recorded_at, ev.schema_version,
               ev.correlation_id, ev.partition_key, ev.attributes, ev.data, ev.data_binary
        from events ev join streams st on st.id = ev.stream_id
        where ev.position = g.position and ev."offset" >= st.first_offset
        union all
        select r.stream, r."offset", r.event_id, r.type, r.recorded_at, r.schema_version,
               r.correlation_id, r.partition_key, r.attributes, r.data, r.data_binary
        from replayed_letters r where r.position = g.position and r.cursor_id = p_cursor
        limit 1
      ) e
      on conflict (cursor_id, position) do update
        set consumer = excluded.consumer, reason = excluded.reason, attempts = excluded.attempts,
            first_error = excluded.first_error, first_at = excluded.first_at,
            last_error = excluded.last_error, last_at = excluded.last_at, dead_at = excluded.dead_at
      returning position
  )
  select array_agg(g.position), (select count(*) from kept) into dead, letters from given_up g;
  if letters > 0 then raise notice using errcode = 'SL002', message = 'events became dead letters', detail = letters; end if;
  delete from replayed_letters r where r.position = any(dead) and r.cursor_id = p_cursor;

  if p_keys is not null then
    perform group_revoke(p_cursor, p_positions, p_keys, case when s.on_failure = 'pause' then dead end);
  end if;

  for again in
    select f.attempts, array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys
      from unnest(p_positions, p_keys) u(position, key)
      join delivery_failures f on f.cursor_id = p_cursor and f.position = u.position
      group by f.attempts
  loop
    perform delivery_wait(p_cursor, again.positions, case when p_keys is not null then again.keys end,
      now_at + coalesce(p_delay_ms, least(s.backoff_max_ms, s.backoff_initial_ms * power(s.backoff_factor, again.attempts - 1))) * interval '1 millisecond');
  end loop;
end $$;
