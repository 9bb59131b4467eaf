-- Creates a subscription or changes its configuration, which p_configuration names by the columns of the table.
-- outcome: created, changed, in-use (the mode cannot change while it has consumers), slots-fixed, or stream-weaker (a stream
-- promises less by now than it would). The rows of ephemeral
-- streams are locked, or they could be trimmed beyond where a new subscription begins. One that asks for other events than
-- before, or ends with others, is not completed any more. p_streams: null for a correlation; '*' alone, which is no name of a
-- stream, for all persistent ones.
create or replace function subscription_configure(p_configuration json, p_streams text[], out outcome text)
language plpgsql as $$
declare
  c subscriptions := json_populate_record(null::subscriptions, p_configuration);
  before subscriptions;
  asks_anew boolean := false;
begin
  perform from streams st where st.name = any(p_streams) and st.ephemeral order by st.name for no key update;
  if c.queue_of is null then
    perform delivery_bound_lock(p_streams, false);
    if exists (select from streams st where st.name = any(p_streams) and delivery_strength(st.delivery) < delivery_strength(c.delivery)) then
      outcome := 'stream-weaker';
      return;
    end if;
  end if;
  insert into subscriptions (
      name, mode, delivery, queue_of, correlation, types, path, start_place, start_position, visibility_timeout_ms, max_in_flight, max_attempts,
      backoff_initial_ms, backoff_factor, backoff_max_ms, max_consumers, consumer_timeout_ms, slots, on_failure, unread_timeout_ms,
      on_unread_expired, terminal, push, batch_interval_ms, expires_after_ms, metadata, receive_as)
    values (
      c.name, c.mode, c.delivery, c.queue_of, c.correlation, c.types, c.path, c.start_place, c.start_position, c.visibility_timeout_ms, c.max_in_flight,
      c.max_attempts, c.backoff_initial_ms, c.backoff_factor, c.backoff_max_ms, c.max_consumers, c.consumer_timeout_ms, c.slots, c.on_failure,
      c.unread_timeout_ms, c.on_unread_expired, c.terminal, c.push, c.batch_interval_ms, c.expires_after_ms, c.metadata,
      c.receive_as)
    on conflict (name) do nothing returning * into before;
  if found then
    outcome := 'created';
  else
    -- Where cursors may go, or their ends.
    perform subscription_lock(s.id) from subscriptions s
      where s.name = c.name and (s.mode <> c.mode or s.terminal is not null);
    select * into before from subscriptions s where s.name = c.name for no key update;
    outcome := 'changed';
    if before.mode = 'consumer-group' and c.mode = 'consumer-group' and before.slots <> c.slots then
      outcome := 'slots-fixed';
      return;
    end if;
    if before.mode <> c.mode then
      if exists (select from consumers m where m.subscription_id = before.id
                 and m.seen_at > clock_timestamp() - before.consumer_timeout_ms * interval '1 millisecond') then
        outcome := 'in-use';
        return;
      end if;
      -- Goes on from where the slowest of its cursors stands.
      select coalesce(min(cursor_floor(k.id)) - 1, before.start_position) into before.start_position
        from subscription_cursors k where k.subscription_id = before.id;
      perform cursors_remove(before.id, null);
      delete from consumers m where m.subscription_id = before.id;
    end if;
    asks_anew := (before.mode, before.correlation, before.types, before.path, before.terminal)
        is distinct from (c.mode, c.correlation, c.types, c.path, c.terminal)
      or (select array_agg(t.stream order by t.stream) from subscription_streams t where t.subscription_id = before.id)
        is distinct from (select array_agg(u.stream order by u.stream) from (select unnest(p_streams) collate "C") u(stream));
    update subscriptions s
      set mode = c.mode, delivery = c.delivery, correlation = c.correlation, types = c.types, path = c.path,
          start_position = before.start_position, visibility_timeout_ms = c.visibility_timeout_ms, max_in_flight = c.max_in_flight,
          max_attempts = c.max_attempts, backoff_initial_ms = c.backoff_initial_ms, backoff_factor = c.backoff_factor,
          backoff_max_ms = c.backoff_max_ms, max_consumers = c.max_consumers, consumer_timeout_ms = c.consumer_timeout_ms, slots = c.slots,
          on_failure = c.on_failure, unread_timeout_ms = c.unread_timeout_ms, on_unread_expired = c.on_unread_expired,
          terminal = c.terminal, push = c.push, batch_interval_ms = c.batch_interval_ms, expires_after_ms = c.expires_after_ms,
          metadata = c.metadata, receive_as = c.receive_as, revision = s.revision + 1, used_at = clock_timestamp(),
          completed_at = case when not asks_anew then s.completed_at end
      where s.id = before.id;
    if asks_anew then
      delete from cursor_ends e using subscription_cursors k where k.subscription_id = before.id and e.cursor_id = k.id;
    end if;
  end if;
  delete from subscription_streams t where t.subscription_id = before.id and t.stream <> all(coalesce(p_streams, '{}'));
  insert into subscription_streams (stream, subscription_id) select u.stream, before.id from unnest(p_streams) u(stream) on conflict do nothing;
  if c.mode in ('exclusive', 'consumer-group') then
    insert into subscription_cursors (subscription_id, consumer, start_position) values (before.id, '', before.start_position)
      on conflict (subscription_id, consumer) do nothing;
  end if;
end $$;
