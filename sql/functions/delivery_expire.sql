-- Takes back what is overdue since p_first_due, some hundreds of leases at most, and hands it out anew at once. Returns how many
-- events were taken back, and whether more is overdue: the caller comes again.
create or replace function delivery_expire(p_cursor bigint, p_first_due timestamptz, out taken int, out is_rest boolean)
language plpgsql as $$
declare
  now_at timestamptz;
  overdue record;
begin
  taken := 0;
  is_rest := false;
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  now_at := clock_timestamp();
  select array_agg(o.step order by o.step, o.part, o.piece) as steps, array_agg(o.part order by o.step, o.part, o.piece) as parts,
         array_agg(o.piece order by o.step, o.part, o.piece) as pieces
    into overdue
    from (
      select d.step, d.part, d.piece from deliveries d
      where d.cursor_id = p_cursor and d.due > '-infinity' and d.due >= p_first_due and d.due <= now_at and d.state = 'leased'
      order by d.due limit 500
    ) o;
  if overdue.steps is null then return; end if;
  taken := delivery_take_back(p_cursor, overdue.steps, overdue.parts, overdue.pieces, 'not settled in time');
  -- For whoever counts: the process that called, in whatever function.
  if taken > 0 then raise notice using errcode = 'SL001', message = 'leases ran out', detail = taken; end if;
  is_rest := exists (
    select from deliveries d
    where d.cursor_id = p_cursor and d.due > '-infinity' and d.due >= p_first_due and d.due <= now_at and d.state = 'leased');
end $$;
