-- Shares the slots of a consumer group among its members, as evenly as can be while moving as few as possible. A slot of
-- which something is out moves later: it drains first.
create or replace function group_rebalance(p_cursor bigint) returns void
language plpgsql as $$
declare
  s subscriptions;
  members text[];
  leased int[];
  moved int[];
  -- By slot.
  owners text[];
  next_step bigint;
  now_at constant timestamptz := clock_timestamp();
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  select sub.* into s from subscriptions sub join subscription_cursors c on c.subscription_id = sub.id where c.id = p_cursor;
  if not found or s.mode <> 'consumer-group' then return; end if;
  insert into group_slots (cursor_id, slot) select p_cursor, n from generate_series(0, s.slots - 1) n on conflict do nothing;
  delete from group_slots g where g.cursor_id = p_cursor and g.slot >= s.slots;
  select array_agg(c.name order by c.name) into members from consumers c
    where c.subscription_id = s.id and c.seen_at > clock_timestamp() - s.consumer_timeout_ms * interval '1 millisecond';
  if members is null then return; end if;
  leased := group_leased_slots(p_cursor, s.slots);

  with held as (
    select g.slot, coalesce(g.next_owner, g.owner) as member,
           row_number() over (partition by coalesce(g.next_owner, g.owner) order by g.slot) as n
    from group_slots g where g.cursor_id = p_cursor
  ), quota as (
    -- Who has most keeps most, so that few slots move.
    select m.name, s.slots / cardinality(members)
           + (row_number() over (order by (select count(*) from held h where h.member = m.name) desc, m.name) <= s.slots % cardinality(members))::int as slots
    from unnest(members) m(name)
  ), kept as (
    select h.slot, h.member from held h join quota q on q.name = h.member and h.n <= q.slots
  ), free as (
    select h.slot, row_number() over (order by h.slot) as n from held h where h.slot not in (select k.slot from kept k)
  ), missing as (
    select q.name, row_number() over (order by q.name) as n
    from quota q cross join lateral generate_series(1, q.slots - (select count(*) from kept k where k.member = q.name)) g
  ), target as (
    select k.slot, k.member from kept k union all select f.slot, m.name from free f join missing m on m.n = f.n
  ), moves as (
    update group_slots g
      set owner = case when g.owner = t.member or g.owner is null or g.slot <> all(leased) then t.member else g.owner end,
          next_owner = case when g.owner = t.member or g.owner is null or g.slot <> all(leased) then null else t.member end,
          drain_deadline = case when g.owner = t.member or g.owner is null or g.slot <> all(leased) then null
                                else coalesce(g.drain_deadline, clock_timestamp() + s.visibility_timeout_ms * interval '1 millisecond') end,
          epoch = g.epoch + (g.owner is distinct from t.member and (g.owner is null or g.slot <> all(leased)))::int
      from target t
      where g.cursor_id = p_cursor and g.slot = t.slot and (g.owner is distinct from t.member or g.next_owner is not null)
        and g.next_owner is distinct from t.member
    returning g.slot
  )
  select array_agg(m.slot) into moved from moves m;
  if moved is null then return; end if;

  -- What waits goes with its slot. A batch whose events all go to one member only changes its owner.
  select array_agg(coalesce(g.next_owner, g.owner, '') order by g.slot) into owners from group_slots g where g.cursor_id = p_cursor;
  next_step := cursor_step(p_cursor);
  with waiting as materialized (
    select d.cursor_id, d.step, d.part, d.piece, d.owner, d.keys from deliveries d where d.cursor_id = p_cursor and d.owner >= ''
  ), targets as materialized (
    select w.cursor_id, w.step, w.part, w.piece, w.owner, t.members
    from waiting w
      cross join lateral (select array_agg(distinct owners[u.key % s.slots + 1]) as members from unnest(w.keys) u(key)) t
    where t.members <> array[w.owner]
  ), given as (
    update deliveries d set owner = t.members[1] from targets t
      where cardinality(t.members) = 1 and d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece
  ), divided as (
    delete from deliveries d using targets t
      where cardinality(t.members) > 1 and d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece
      returning d.due, d.positions, d.keys
  ), events as (
    -- In batches of a size that can be rewritten when a few events of one are taken.
    select e.*, (row_number() over (partition by e.owner, e.due order by e.position) - 1) / 1000 as batch
    from (
      select greatest(d.due, now_at) as due, u.position, u.key, owners[u.key % s.slots + 1] as owner
      from divided d cross join lateral unnest(d.positions, d.keys) u(position, key)
    ) e
  )
  insert into deliveries (cursor_id, step, part, piece, state, due, positions, keys, owner)
    select p_cursor, next_step, b.n % 32768, b.n / 32768, 'ready', b.due, b.positions, b.keys, b.owner
    from (
      select e.owner, e.due, array_agg(e.position order by e.position) as positions, array_agg(e.key order by e.position) as keys,
             row_number() over () - 1 as n
      from events e group by e.owner, e.due, e.batch
    ) b;
end $$;
