-- Removes cursors of a subscription with all that is under them: of one consumer, or of all (null). Returns how many. The
-- ledger goes first: an acknowledgement that holds rows of it makes receipts of them, which the next statement sees.
create or replace function cursors_remove(p_subscription bigint, p_consumer text) returns int
language plpgsql as $$
declare
  ids bigint[];
begin
  ids := array(
    select c.id from subscription_cursors c
    where c.subscription_id = p_subscription and (p_consumer is null or c.consumer = p_consumer)
    order by c.id for no key update);
  delete from deliveries d where d.cursor_id = any(ids) and d.due > '-infinity';
  delete from receipts r where r.cursor_id = any(ids) and r.positions[1] > -1;
  delete from cursor_steps n where n.cursor_id = any(ids);
  delete from subscription_cursors c where c.id = any(ids);
  return cardinality(ids);
end $$;
