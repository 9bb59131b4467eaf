-- Notes that the consumers are alive who hold these leases, as consumer_join does of one who asks: a few times within its
-- subscription's timeout. The caller holds no other lock.
create or replace function consumers_seen(p_cursors bigint[], p_steps bigint[], p_parts smallint[]) returns void
language sql as $$
  update consumers c set seen_at = clock_timestamp()
    from (
      select m.subscription_id, m.name
      from (
        select distinct k.subscription_id, d.consumer
        from unnest(p_cursors, p_steps, p_parts) u(cursor_id, step, part)
          join deliveries d on d.step = u.step and d.cursor_id = u.cursor_id and d.part = u.part and d.state = 'leased'
          join subscription_cursors k on k.id = u.cursor_id
      ) h
        join consumers m on m.subscription_id = h.subscription_id and m.name = h.consumer
        join subscriptions s on s.id = m.subscription_id
      where m.seen_at < clock_timestamp() - least(s.consumer_timeout_ms / 4, 15000) * interval '1 millisecond'
      -- In one order for all, so that two of these never wait for each other.
      order by m.subscription_id, m.name for no key update of m
    ) o
    where c.subscription_id = o.subscription_id and c.name = o.name
$$;
