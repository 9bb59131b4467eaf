-- Makes a consumer a member, or notes that it is alive, and opens its cursor where the mode gives each consumer one.
-- p_metadata: null leaves it as it is. outcome: joined, present, full (no more members are allowed), gone (no subscription).
create or replace function consumer_join(p_subscription bigint, p_name text, p_metadata json, out outcome text, out cursor_id bigint)
language plpgsql as $$
declare
  s subscriptions;
  own text;
begin
  select * into s from subscriptions sub where sub.id = p_subscription and sub.deleted_at is null;
  if not found then
    outcome := 'gone';
    return;
  end if;
  own := case when s.mode in ('broadcast', 'read-receipt') then p_name else '' end;
  update consumers c set seen_at = clock_timestamp(), metadata = coalesce(p_metadata, c.metadata)
    where c.subscription_id = p_subscription and c.name = p_name;
  outcome := case when found then 'present' else 'joined' end;
  if not found then
    -- One after the other: the maximum must hold.
    perform from subscriptions sub where sub.id = p_subscription for no key update;
    if s.max_consumers is not null and s.max_consumers <= (
         select count(*) from consumers c where c.subscription_id = p_subscription
           and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond') then
      outcome := 'full';
      return;
    end if;
    insert into consumers (subscription_id, name, metadata, seen_at) values (p_subscription, p_name, coalesce(p_metadata, '{}'), clock_timestamp())
      on conflict (subscription_id, name) do update set seen_at = excluded.seen_at;
    if s.expires_after_ms is not null then
      update subscriptions sub set used_at = clock_timestamp() where sub.id = p_subscription;
    end if;
  end if;
  select k.id into cursor_id from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = own;
  if not found then
    insert into subscription_cursors (subscription_id, consumer, start_position) values (p_subscription, own, s.start_position)
      on conflict (subscription_id, consumer) do nothing returning id into cursor_id;
    if not found then
      select k.id into cursor_id from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = own;
    end if;
  end if;
  if outcome = 'joined' and s.mode = 'consumer-group' then perform group_rebalance(cursor_id); end if;
end $$;
