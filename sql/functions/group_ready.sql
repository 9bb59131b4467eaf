-- The lowest events that wait for a member of a group and may be handed out now, p_want of them at most: of slots that are
-- its own (p_askers: whose each slot is, and p_asker the member there), and of no key from the position on at which one
-- waits that is due later (p_blocked, sorted, and p_blocked_from).
--
-- The batches overlap. They are read in the order of their first positions, and what lies below the first position of the
-- next one is complete: no lower event of any key is left out.
create or replace function group_ready(
  p_cursor bigint, p_member text, p_askers int[], p_asker int, p_now timestamptz, p_blocked bigint[], p_blocked_from bigint[], p_want int,
  out positions bigint[], out keys bigint[], out steps bigint[], out parts smallint[], out pieces smallint[]
)
language plpgsql stable as $$
declare
  slot_count constant int := cardinality(p_askers);
  batches int := 2;
  is_last boolean;
begin
  if p_asker <> all(p_askers) then return; end if;
  loop
    with batch as materialized (
      select d.step, d.part, d.piece, d.positions, d.keys, row_number() over (order by d.positions[1]) as n
      from deliveries d where d.cursor_id = p_cursor and d.owner = p_member and d.owner >= '' and d.due <= p_now
      order by d.positions[1] limit batches + 1
    ), next as materialized (
      select b.positions[1] as position from batch b where b.n = batches + 1
    ), ready as (
      select b.step, b.part, b.piece, u.position, u.key
      from batch b cross join lateral unnest(b.positions, b.keys) u(position, key)
      where b.n <= batches and u.position < coalesce((select n.position from next n), 9223372036854775807)
        and p_askers[u.key % slot_count + 1] = p_asker
        -- Found by bisection: it is done for all that waits, as long as little of it may go.
        and (p_blocked is null or p_blocked[width_bucket(u.key, p_blocked)] is distinct from u.key
             or u.position < p_blocked_from[width_bucket(u.key, p_blocked)])
      order by u.position limit p_want
    )
    select array_agg(r.position), array_agg(r.key), array_agg(r.step), array_agg(r.part), array_agg(r.piece), not exists (select from next)
      into positions, keys, steps, parts, pieces, is_last from ready r;
    exit when is_last or cardinality(positions) >= p_want;
    batches := batches * 4;
  end loop;
end $$;
