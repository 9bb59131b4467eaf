-- Makes a consumer a member, or notes that it is alive, and opens its cursor where the mode gives each consumer one. Who has
-- been silent for too long joins anew. p_metadata: null leaves it as it is. outcome: joined, present, full (no more members
-- are allowed), gone (no subscription).
create or replace function consumer_join(p_subscription bigint, p_name text, p_metadata json, out outcome text, out cursor_id bigint)
language plpgsql as $$
declare
  s subscriptions;
  own text;
  aside bigint;
  waiting bigint;
begin
  select * into s from subscriptions sub where sub.id = p_subscription and sub.deleted_at is null;
  if not found then
    outcome := 'gone';
    return;
  end if;
  own := case when s.mode in ('broadcast', 'read-receipt') then p_name else '' end;
  update consumers c set seen_at = clock_timestamp(), metadata = coalesce(p_metadata, c.metadata)
    where c.subscription_id = p_subscription and c.name = p_name
      and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond';
  outcome := case when found then 'present' else 'joined' end;
  select k.id into cursor_id from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = own;
  if outcome = 'joined' or cursor_id is null then
    -- In the order of subscription_lock. One after the other, for the maximum must hold; and the mode may be another by now.
    perform from consumers c where c.subscription_id = p_subscription and c.name = p_name for no key update;
    perform from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = '' for no key update;
    select * into s from subscriptions sub where sub.id = p_subscription and sub.deleted_at is null for no key update;
    if not found then
      outcome := 'gone';
      cursor_id := null;
      return;
    end if;
    own := case when s.mode in ('broadcast', 'read-receipt') then p_name else '' end;
    if exists (select from consumers c where c.subscription_id = p_subscription and c.name = p_name
               and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond') then
      outcome := 'present';
    else
      outcome := 'joined';
      if s.max_consumers is not null and s.max_consumers <= (
           select count(*) from consumers c where c.subscription_id = p_subscription
             and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond') then
        outcome := 'full';
        cursor_id := null;
        return;
      end if;
    end if;
    insert into consumers as c (subscription_id, name, metadata, seen_at) values (p_subscription, p_name, coalesce(p_metadata, '{}'), clock_timestamp())
      on conflict (subscription_id, name) do update set seen_at = excluded.seen_at, set_aside = null, metadata = coalesce(p_metadata, c.metadata);
    if outcome = 'joined' and s.expires_after_ms is not null then
      update subscriptions sub set used_at = clock_timestamp() where sub.id = p_subscription;
    end if;
    select k.id into cursor_id from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = own;
    if not found then
      insert into subscription_cursors (subscription_id, consumer, start_position) values (p_subscription, own, s.start_position)
        returning id into cursor_id;
    end if;
  end if;
  if s.mode = 'consumer-group' and outcome = 'present' then
    select c.set_aside into aside from consumers c where c.subscription_id = p_subscription and c.name = p_name;
    if aside is not null then
      -- It takes part again when it holds nothing any more, and half of what waited then is gone.
      if exists (select from deliveries d where d.cursor_id = consumer_join.cursor_id and d.consumer = p_name and d.consumer > '') then
        return;
      end if;
      select coalesce(sum(cardinality(d.positions)), 0) into waiting
        from deliveries d where d.cursor_id = consumer_join.cursor_id and d.owner >= '';
      if waiting > aside / 2 then return; end if;
      update consumers c set set_aside = null where c.subscription_id = p_subscription and c.name = p_name;
    end if;
  end if;
  -- Also whom a heartbeat has kept after its slots were given away.
  if s.mode = 'consumer-group' and (outcome = 'joined' or not exists (
       select from group_slots g where g.cursor_id = consumer_join.cursor_id and coalesce(g.next_owner, g.owner) = p_name)) then
    perform group_rebalance(cursor_id);
  end if;
end $$;
