-- Notes that events of a cursor that keeps receipts were delivered and are not read; the caller has taken them out of the ledger.
create or replace function receipt_deliver(p_cursor bigint, p_positions bigint[]) returns void
language sql as $$
  insert into receipts (cursor_id, positions, delivered_at, due)
    select p_cursor, p_positions, n.now_at, n.now_at + s.unread_timeout_ms * interval '1 millisecond'
    from subscription_cursors c join subscriptions s on s.id = c.subscription_id, (select clock_timestamp() as now_at) n
    where c.id = p_cursor and cardinality(p_positions) > 0
$$;
