-- Of events that are taken back from their holder unacknowledged, returns those that are marked as processed: their consumer
-- died, or was late, between the mark and the acknowledgement. The effect is there, so another delivery could only do harm:
-- they are settled in the consumer's place. The caller has taken all of them out of their leases, which waited for a mark
-- that was on its way.
create or replace function processed_settle(p_cursor bigint, p_positions bigint[]) returns bigint[]
language plpgsql as $$
declare
  marked constant bigint[] := array(
    select p.position from processed_events p where p.cursor_id = p_cursor and p.position = any(p_positions) order by p.position);
begin
  if marked = '{}' then return marked; end if;
  if cursor_keeps_receipts(p_cursor) then perform receipt_deliver(p_cursor, marked);
  else delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(marked);
  end if;
  return marked;
end $$;
