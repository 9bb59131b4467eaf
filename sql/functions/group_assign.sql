-- Gives what waits in a consumer group to those whose its slots are now; what is of draining slots is nobody's (owner '') until
-- they have moved. p_owner: only what is this member's, null: everything. The caller has locked the cursor.
create or replace function group_assign(p_cursor bigint, p_owner text) returns void
language plpgsql as $$
declare
  next_step constant bigint := cursor_step(p_cursor);
  -- By slot: whose it is; of one that drains its number behind a slash, which is in no name.
  labels text[];
begin
  select array_agg(coalesce(case when g.next_owner is null then g.owner end, '/' || g.slot) order by g.slot) into labels
    from group_slots g where g.cursor_id = p_cursor;
  -- A batch whose events all go to one member only changes its owner. What waits for slots that drain may be very much: each of
  -- its batches is of one slot, so that nothing of it is rewritten when that moves.
  with waiting as materialized (
    select d.cursor_id, d.step, d.part, d.piece, d.owner, case when d.owner = '' then d.keys[1 : 1] else d.keys end as keys
    from deliveries d where d.cursor_id = p_cursor and d.owner >= '' and (p_owner is null or d.owner = p_owner)
  ), targets as materialized (
    select w.cursor_id, w.step, w.part, w.piece, t.labels, case when t.labels[1] like '/%' then '' else t.labels[1] end as owner
    from waiting w
      cross join lateral (select array_agg(distinct labels[u.key % cardinality(labels) + 1]) as labels from unnest(w.keys) u(key)) t
    where cardinality(t.labels) > 1 or w.owner <> case when t.labels[1] like '/%' then '' else t.labels[1] end
  ), given as (
    update deliveries d set owner = t.owner from targets t
      where cardinality(t.labels) = 1 and d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece
  ), divided as (
    delete from deliveries d using targets t
      where cardinality(t.labels) > 1 and d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece
      returning d.due, d.positions, d.keys
  ), events as (
    -- In batches of a size that can be rewritten when a few events of one are taken.
    select e.*, (row_number() over (partition by e.label, e.due order by e.position) - 1) / 1000 as batch
    from (
      select d.due, u.position, u.key, labels[u.key % cardinality(labels) + 1] as label
      from divided d cross join lateral unnest(d.positions, d.keys) u(position, key)
    ) e
  )
  insert into deliveries (cursor_id, step, part, piece, state, due, positions, keys, owner)
    select p_cursor, next_step, b.n % 32768, b.n / 32768, 'ready', b.due, b.positions, b.keys, case when b.label like '/%' then '' else b.label end
    from (
      select e.label, e.due, array_agg(e.position order by e.position) as positions, array_agg(e.key order by e.position) as keys,
             row_number() over () - 1 as n
      from events e group by e.label, e.due, e.batch
    ) b;
end $$;
