-- Puts back the rest of what one step handed out, which was too much to be sent at once: p_parts name the portions, whose
-- events are p_positions, p_counts of them each, ascending. They are handed out anew at once, and no attempt is counted; nobody
-- has seen a token of theirs. p_leased: false where a portion was given away without a lease; p_keys: of a consumer group,
-- needed for those. Later events of the same keys that went out meanwhile are taken back, and come again behind them.
create or replace function delivery_put_back_some(
  p_cursor bigint, p_step bigint, p_parts smallint[], p_leased boolean[], p_counts int[], p_positions bigint[], p_keys bigint[]
) returns void
language plpgsql as $$
declare
  at int := 1;
  given bigint[];
  rest bigint[];
  rest_keys bigint[];
  held record;
  here record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  for n in 1 .. cardinality(p_parts) loop
    given := p_positions[at : at + p_counts[n] - 1];
    if p_leased[n] then
      rest := '{}';
      rest_keys := '{}';
      for held in
        select d.piece, d.positions, d.keys from deliveries d
        where d.step = p_step and d.cursor_id = p_cursor and d.part = p_parts[n] and d.state = 'leased' order by d.piece for update
      loop
        select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into here
          from unnest(held.positions, held.keys) u(position, key) where u.position = any(given);
        continue when here.positions is null;
        perform delivery_take_out(p_step, p_cursor, p_parts[n], held.piece, here.positions);
        rest := rest || here.positions;
        rest_keys := case when held.keys is not null then rest_keys || here.keys end;
      end loop;
    else
      rest := given;
      rest_keys := p_keys[at : at + p_counts[n] - 1];
      if cursor_keeps_receipts(p_cursor) then
        -- They are not delivered after all. What was read meanwhile is.
        rest := '{}';
        for held in
          select r.id, r.positions from receipts r
          where r.cursor_id = p_cursor and r.positions[1] > -1 and r.positions[1] <= given[cardinality(given)] and r.positions && given
          order by r.id for update
        loop
          select array_agg(u.position order by u.position) filter (where u.position = any(given)) as positions,
                 array_agg(u.position order by u.position) filter (where u.position <> all(given)) as others
            into here from unnest(held.positions) u(position);
          rest := rest || here.positions;
          if here.others is null then delete from receipts r where r.id = held.id;
          else update receipts r set positions = here.others where r.id = held.id;
          end if;
        end loop;
        rest := array(select u.position from unnest(rest) u(position) order by u.position);
      end if;
    end if;
    at := at + p_counts[n];
    continue when rest = '{}';
    if rest_keys is not null then perform group_revoke(p_cursor, rest, rest_keys, null); end if;
    perform delivery_wait(p_cursor, rest, rest_keys, clock_timestamp());
  end loop;
end $$;
