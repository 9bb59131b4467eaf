-- Removes rows of one deleted subscription, p_limit of a table at most, and at last the subscription. True when there was one.
-- One kind after the other, each in a transaction of its own: whoever still writes there locks them in another order.
create or replace function subscription_clear(p_limit int) returns boolean
language plpgsql as $$
declare
  gone_id bigint;
begin
  select s.id into gone_id from subscriptions s where s.deleted_at is not null order by s.id limit 1;
  if not found then return false; end if;
  delete from dead_letters l where l.id = any(array(
    select d.id from dead_letters d where d.subscription_id = gone_id order by d.id limit p_limit));
  if found then return true; end if;
  delete from consumers m where m.subscription_id = gone_id and m.name = any(array(
    select c.name from consumers c where c.subscription_id = gone_id order by c.name limit p_limit for update));
  if found then return true; end if;
  if cursors_clear(gone_id, 100, p_limit) then return true; end if;
  delete from subscriptions s where s.id = gone_id;
  return true;
end $$;
