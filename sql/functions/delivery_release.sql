-- Takes back what consumers hold that have gone (p_consumers), or certain leases (p_steps, p_parts), and hands it out anew at
-- once. Of very many leases the first ones: the others are overdue from now on, and go as what is overdue goes. Returns how many
-- events were taken back here.
create or replace function delivery_release(
  p_cursor bigint, p_consumers text[], p_steps bigint[], p_parts smallint[], p_error text
) returns int
language plpgsql as $$
declare
  held record;
  taken int;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return 0; end if;
  -- Queries of their own: one for both ways could use no index of either.
  if p_steps is null then
    select array_agg(o.step) as steps, array_agg(o.part) as parts, array_agg(o.piece) as pieces into held
      from (
        select d.step, d.part, d.piece from deliveries d
        where d.cursor_id = p_cursor and d.consumer = any(p_consumers) and d.consumer > ''
        order by d.step, d.part, d.piece limit 500
      ) o;
  else
    -- Many of them may be settled.
    with listed as materialized (
      select p_cursor as cursor_id, u.* from unnest(p_steps, p_parts) u(step, part)
    )
    select array_agg(o.step) as steps, array_agg(o.part) as parts, array_agg(o.piece) as pieces into held
      from (
        select d.step, d.part, d.piece
        from listed l join deliveries d on d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part
        where d.state = 'leased' order by d.step, d.part, d.piece limit 500
      ) o;
  end if;
  if held.steps is null then return 0; end if;
  taken := delivery_take_back(p_cursor, held.steps, held.parts, held.pieces, p_error);
  if p_steps is null then
    update deliveries d set due = clock_timestamp()
      where d.cursor_id = p_cursor and d.consumer = any(p_consumers) and d.consumer > '' and d.due > clock_timestamp();
  else
    with listed as materialized (
      select p_cursor as cursor_id, u.* from unnest(p_steps, p_parts) u(step, part)
    )
    update deliveries d set due = clock_timestamp() from listed l
      where d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part and d.state = 'leased' and d.due > clock_timestamp();
  end if;
  return taken;
end $$;
