-- Locks a subscription with its members and cursors, in the order that all keep who lock several of these: members, cursors by
-- their ids, the subscription. What is made of them meanwhile waits for the subscription's row, or is seen by the next statement.
create or replace function subscription_lock(p_subscription bigint) returns void
language plpgsql as $$
begin
  perform from consumers c where c.subscription_id = p_subscription order by c.name for update;
  perform from subscription_cursors c where c.subscription_id = p_subscription order by c.id for no key update;
  perform from subscriptions s where s.id = p_subscription for no key update;
end $$;
