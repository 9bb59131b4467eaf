-- Ends a membership for good: what the consumer holds of a shared cursor goes to others, a cursor of its own is forgotten
-- with all that is under it. Returns no row when there is no such consumer, else the shared cursor, if there is one.
create or replace function consumer_remove(p_subscription bigint, p_name text) returns table (cursor_id bigint)
language plpgsql as $$
declare
  known boolean := false;
begin
  delete from consumers c where c.subscription_id = p_subscription and c.name = p_name;
  known := found;
  if cursors_remove(p_subscription, p_name) = 0 and not known then return; end if;
  select k.id into cursor_id from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = '';
  if cursor_id is not null then perform delivery_release(cursor_id, array[p_name], null, null, 'the consumer was removed'), group_rebalance(cursor_id); end if;
  -- It may have been the last one that had not come to its end.
  perform subscription_complete(p_subscription);
  return next;
end $$;
