-- Takes events out of one row of deliveries, which goes when nothing is left of it.
create or replace function delivery_take_out(p_step bigint, p_cursor bigint, p_part smallint, p_piece smallint, p_positions bigint[]) returns void
language plpgsql as $$
declare
  rest record;
begin
  select array_agg(u.position order by u.n) as positions, array_agg(u.key order by u.n) as keys, bool_or(d.keys is not null) as keyed
    into rest
    from deliveries d cross join lateral unnest(d.positions, d.keys) with ordinality u(position, key, n)
    where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.piece = p_piece
      -- A probe of a hash table for each event: with an array it is a comparison with all.
      and u.position not in (select t.position from unnest(p_positions) t(position));
  if rest.positions is null then
    delete from deliveries d where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.piece = p_piece;
  else
    update deliveries d set positions = rest.positions, keys = case when rest.keyed then rest.keys end
      where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.piece = p_piece;
  end if;
end $$;
