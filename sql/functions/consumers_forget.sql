-- Ends the membership of consumers that have been silent for too long; what they hold goes to others at once. Returns who.
-- At a built-in queue, which has no heartbeats, nobody is silent who holds a lease whose deadline lies ahead.
create or replace function consumers_forget(p_limit int) returns table (subscription_id bigint, consumer text, cursor_id bigint, taken_back int)
language plpgsql as $$
begin
  for consumers_forget.subscription_id, consumer in
    delete from consumers c where (c.subscription_id, c.name) in (
      select m.subscription_id, m.name from consumers m join subscriptions s on s.id = m.subscription_id
      where m.seen_at <= clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond'
        and not (s.queue_of is not null and exists (
          select from subscription_cursors k join deliveries d on d.cursor_id = k.id and d.consumer = m.name and d.consumer > ''
          where k.subscription_id = m.subscription_id and k.consumer = '' and d.due > clock_timestamp()))
      limit p_limit for no key update of m skip locked)
    returning c.subscription_id, c.name
  loop
    for cursor_id in
      select k.id from subscription_cursors k where k.subscription_id = consumers_forget.subscription_id and k.consumer in ('', consumers_forget.consumer)
    loop
      taken_back := delivery_release(cursor_id, array[consumers_forget.consumer], null, null, 'the consumer fell silent');
      perform group_rebalance(cursor_id);
      return next;
    end loop;
  end loop;
end $$;
