-- Takes the slots of a member of a group away that takes nothing of what waits for it: they drain, and go to the others.
-- p_waiting: an event that has waited for it at the head of all that does, and still does if it has taken nothing. Returns false,
-- and changes nothing, when it has, or when nobody else is there.
create or replace function group_set_aside(p_cursor bigint, p_consumer text, p_waiting bigint) returns boolean
language plpgsql as $$
declare
  s subscriptions;
begin
  select sub.* into s from subscriptions sub join subscription_cursors c on c.subscription_id = sub.id where c.id = p_cursor;
  -- In the order of subscription_lock.
  perform from consumers c where c.subscription_id = s.id and c.name = p_consumer and c.set_aside is null for no key update;
  if not found then return false; end if;
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not exists (
       select from deliveries d where d.cursor_id = p_cursor and d.owner = p_consumer and d.owner >= ''
         and d.positions[1] <= p_waiting and p_waiting = any(d.positions))
     or not exists (
       select from consumers c where c.subscription_id = s.id and c.name <> p_consumer and c.set_aside is null
         and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond') then
    return false;
  end if;
  update consumers c
    set set_aside = (select sum(cardinality(d.positions)) from deliveries d where d.cursor_id = p_cursor and d.owner >= '')
    where c.subscription_id = s.id and c.name = p_consumer;
  perform group_rebalance(p_cursor);
  return true;
end $$;
