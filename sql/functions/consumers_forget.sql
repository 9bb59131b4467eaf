-- Ends the membership of consumers that have been silent for too long, of one subscription behind p_after; what they hold goes to
-- others at once. All of them where they share a cursor, for which the slots are shared out once; p_limit where each has its own.
-- At a built-in queue, which has no heartbeats, nobody is silent who holds a lease whose deadline lies ahead. Returns who, no row
-- when there is none.
create or replace function consumers_forget(p_after bigint, p_limit int)
returns table (subscription_id bigint, consumer text, cursor_id bigint, taken_back int)
language plpgsql as $$
declare
  now_at constant timestamptz := clock_timestamp();
  s record;
  shared bigint;
  silent text[];
  k record;
begin
  subscription_id := p_after;
  loop
    select m.subscription_id as id, sub.queue_of is not null as is_queue,
           now_at - sub.consumer_timeout_ms * interval '1 millisecond' as since,
           case when sub.mode in ('broadcast', 'read-receipt') then p_limit end as most
      into s
      from consumers m join subscriptions sub on sub.id = m.subscription_id
      where m.subscription_id > consumers_forget.subscription_id and sub.deleted_at is null
        and m.seen_at <= now_at - sub.consumer_timeout_ms * interval '1 millisecond'
      order by m.subscription_id limit 1;
    if not found then return; end if;
    subscription_id := s.id;
    select c.id into shared from subscription_cursors c where c.subscription_id = s.id and c.consumer = '';
    silent := array(
      select m.name from consumers m
      where m.subscription_id = s.id and m.seen_at <= s.since
        and not (s.is_queue and exists (
          select from deliveries d where d.cursor_id = shared and d.consumer = m.name and d.consumer > '' and d.due > now_at))
      order by m.name limit s.most for no key update skip locked);
    exit when silent <> '{}';
  end loop;
  delete from consumers m where m.subscription_id = s.id and m.name = any(silent);
  for k in
    select c.id, c.consumer as own from subscription_cursors c
    where c.subscription_id = s.id and c.consumer = any(array[''] || silent) order by c.id for no key update
  loop
    cursor_id := k.id;
    for consumer, taken_back in
      select n.name, coalesce((select sum(cardinality(d.positions))::int from deliveries d
                               where d.cursor_id = k.id and d.consumer = n.name and d.consumer > ''), 0)
      from unnest(silent) n(name) where k.own in ('', n.name)
    loop
      return next;
    end loop;
    perform delivery_release(k.id, case when k.own = '' then silent else array[k.own] end, null, null, 'the consumer fell silent');
    if k.own = '' then perform group_rebalance(k.id); end if;
  end loop;
end $$;
