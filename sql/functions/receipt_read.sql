-- Notes that events of a cursor were read: those that are delivered or handed out leave the ledger for good, and those beyond
-- the cursor will never be handed out. p_positions: events that the cursor's subscription selects. Returns how many were unread.
create or replace function receipt_read(p_cursor bigint, p_positions bigint[]) returns int
language plpgsql as $$
declare
  last constant bigint := (select max(u.position) from unnest(p_positions) u(position));
  cursor_place bigint;
  held record;
  here bigint[];
  rest bigint[];
  read bigint[] := '{}';
  early int;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return 0; end if;
  select n.place into cursor_place from cursor_next(p_cursor, clock_timestamp()) n;
  -- First what is handed out, then what is delivered: an acknowledgement, which does not lock the cursor, moves events from
  -- there to here, and one that has not committed yet is waited for.
  for held in
    select d.step, d.part, d.piece, d.positions from deliveries d
    where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] <= last and d.positions && p_positions
    order by d.step, d.part, d.piece for update
  loop
    here := array(select u.position from unnest(held.positions) u(position) where u.position = any(p_positions));
    read := read || here;
    perform delivery_take_out(held.step, p_cursor, held.part, held.piece, here);
  end loop;
  for held in
    select r.id, r.positions from receipts r
    where r.cursor_id = p_cursor and r.positions[1] > -1 and r.positions[1] <= last and r.positions && p_positions
    order by r.id for update
  loop
    select array_agg(u.position order by u.position) filter (where u.position = any(p_positions)),
           array_agg(u.position order by u.position) filter (where u.position <> all(p_positions))
      into here, rest from unnest(held.positions) u(position);
    read := read || here;
    if rest is null then delete from receipts r where r.id = held.id;
    else update receipts r set positions = rest where r.id = held.id;
    end if;
  end loop;
  delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(read);
  insert into early_reads (cursor_id, position)
    select p_cursor, u.position from unnest(p_positions) u(position) where u.position > cursor_place
    on conflict (cursor_id, position) do nothing;
  get diagnostics early = row_count;
  return cardinality(read) + early;
end $$;
