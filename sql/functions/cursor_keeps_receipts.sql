-- Whether what is delivered under a cursor becomes a receipt: the subscription's mode is read-receipt.
create or replace function cursor_keeps_receipts(p_cursor bigint) returns boolean
language sql stable as $$
  select s.mode = 'read-receipt' from subscription_cursors c join subscriptions s on s.id = c.subscription_id where c.id = p_cursor
$$;
