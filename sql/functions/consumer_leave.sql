-- Ends a membership for now, if p_session was the member's last connection and it holds nothing that it got in another way:
-- its keys go to the other members of a group. A cursor of its own stays. Returns the shared cursor, 0 where there is none;
-- null: it stays a member, or was none.
create or replace function consumer_leave(p_subscription bigint, p_name text, p_session bigint) returns bigint
language plpgsql as $$
declare
  shared bigint;
begin
  -- Whom a heartbeat has made a member again, after it was forgotten, has no session.
  perform from consumers c where c.subscription_id = p_subscription and c.name = p_name and c.session <= p_session for update;
  -- It has connected anew since, here or elsewhere.
  if not found then return null; end if;
  select k.id into shared from subscription_cursors k where k.subscription_id = p_subscription and k.consumer = '' for no key update;
  -- What is overdue is not its own any more: of very much that it held, the rest is taken back by and by.
  if exists (
    select from deliveries d
    where d.cursor_id = shared and d.consumer = p_name and d.consumer > '' and d.due > clock_timestamp()) then return null; end if;
  delete from consumers c where c.subscription_id = p_subscription and c.name = p_name;
  raise notice using errcode = 'SL003', message = 'a member left', detail = 1;
  if shared is not null then perform group_rebalance(shared); end if;
  return coalesce(shared, 0);
end $$;
