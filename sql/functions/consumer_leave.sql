-- Ends a membership for now, if this was its last connection: what the consumer holds of a shared cursor goes to others at once; a cursor of its own stays.
-- Returns the shared cursor, if there is one.
create or replace function consumer_leave(p_subscription bigint, p_name text, p_session bigint) returns bigint
language plpgsql as $$
declare
  shared bigint;
begin
  delete from consumers c where c.subscription_id = p_subscription and c.name = p_name and c.session = p_session;
  -- It has connected anew since, here or elsewhere.
  if not found then return null; end if;
  select k.id into shared from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = '';
  if shared is not null then
    perform delivery_expire(shared, p_name, null, null, 'the consumer''s connection closed', '-infinity');
    perform group_rebalance(shared);
  end if;
  return shared;
end $$;
