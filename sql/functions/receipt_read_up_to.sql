-- Notes that everything of a cursor up to p_upto was read. The caller has looked through the log from p_after to p_scanned and
-- names what matches there: p_candidates, ascending. The cursor moves over them as if they had been handed out and settled,
-- unless it lies before p_after. Returns how many were unread, and where the cursor stands: short of p_upto the caller looks on.
create or replace function receipt_read_up_to(
  p_cursor bigint, p_upto bigint, p_after bigint, p_scanned bigint, p_candidates bigint[],
  out read bigint, out place bigint
)
language plpgsql as $$
declare
  next_step bigint;
  target constant bigint := least(p_upto, p_scanned);
  more bigint;
begin
  read := 0;
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  select n.step, n.place into next_step, place from cursor_next(p_cursor, clock_timestamp()) n;
  if place >= p_after and place < target then
    select count(*) into read from unnest(p_candidates) c(position)
      where c.position > place and c.position <= target
        and not exists (select from early_reads e where e.cursor_id = p_cursor and e.position = c.position);
    place := target;
    insert into cursor_steps (cursor_id, step, position) values (p_cursor, next_step, place);
    delete from early_reads e where e.cursor_id = p_cursor and e.position <= place;
  end if;

  -- In this order: see receipt_read.
  with gone as (
    delete from deliveries d
      where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] <= p_upto
        and d.positions[cardinality(d.positions)] <= p_upto
      returning cardinality(d.positions) as events
  )
  select coalesce(sum(gone.events), 0) into more from gone;
  read := read + more;
  with cut as (
    update deliveries d set positions = array(select u.position from unnest(d.positions) u(position) where u.position > p_upto)
      from (select v.cursor_id, v.step, v.part, v.piece, cardinality(v.positions) as events from deliveries v
            where v.cursor_id = p_cursor and v.positions[1] > -1 and v.positions[1] <= p_upto for update) before
      where d.step = before.step and d.cursor_id = before.cursor_id and d.part = before.part and d.piece = before.piece
      returning before.events - cardinality(d.positions) as events
  )
  select coalesce(sum(cut.events), 0) into more from cut;
  read := read + more;

  with gone as (
    delete from receipts r
      where r.cursor_id = p_cursor and r.positions[1] > -1 and r.positions[1] <= p_upto
        and r.positions[cardinality(r.positions)] <= p_upto
      returning cardinality(r.positions) as events
  )
  select coalesce(sum(gone.events), 0) into more from gone;
  read := read + more;
  with cut as (
    update receipts r set positions = array(select u.position from unnest(r.positions) u(position) where u.position > p_upto)
      from (select v.id, cardinality(v.positions) as events from receipts v
            where v.cursor_id = p_cursor and v.positions[1] > -1 and v.positions[1] <= p_upto for update) before
      where r.id = before.id
      returning before.events - cardinality(r.positions) as events
  )
  select coalesce(sum(cut.events), 0) into more from cut;
  read := read + more;
  delete from delivery_failures f where f.cursor_id = p_cursor and f.position <= p_upto;
end $$;
