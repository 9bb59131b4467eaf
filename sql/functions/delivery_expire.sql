-- Takes back what is overdue since p_first_due, or, of a consumer that has gone, everything it holds (p_consumer) or certain
-- leases (p_steps, p_parts), and hands it out anew at once. Returns how many events were taken back.
create or replace function delivery_expire(
  p_cursor bigint, p_consumer text, p_steps bigint[], p_parts smallint[], p_error text, p_first_due timestamptz
) returns int
language plpgsql as $$
declare
  held record;
  taken int := 0;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return 0; end if;
  for held in
    select d.step, d.part, d.piece, d.consumer from deliveries d
    where d.cursor_id = p_cursor and d.state = 'leased'
      and case when p_steps is not null then (d.step, d.part) in (select u.step, u.part from unnest(p_steps, p_parts) u(step, part))
               when p_consumer is not null then d.consumer = p_consumer and d.consumer > ''
               else d.due > '-infinity' and d.due >= p_first_due and d.due <= clock_timestamp() end
    order by d.step, d.part, d.piece
  loop
    -- What one has lost to the failure of another is not there any more.
    declare
      gone record;
    begin
      delete from deliveries d
        where d.step = held.step and d.cursor_id = p_cursor and d.part = held.part and d.piece = held.piece
        returning d.positions, d.keys into gone;
      continue when not found;
      perform delivery_revoke(p_cursor, held.step, held.part, gone.positions);
      perform delivery_fail(p_cursor, held.consumer, gone.positions, gone.keys, p_error, 0, false);
      taken := taken + cardinality(gone.positions);
    end;
  end loop;
  -- For whoever counts: the process that called, in whatever function.
  if taken > 0 and p_steps is null and p_consumer is null then
    raise notice using errcode = 'SL001', message = 'leases ran out', detail = taken;
  end if;
  return taken;
end $$;
