-- Shares the slots of a consumer group among its members, but for those who are set aside while there are others, as evenly as
-- can be while moving as few as possible. A slot of which something is out moves later: it drains first.
create or replace function group_rebalance(p_cursor bigint) returns void
language plpgsql as $$
declare
  s subscriptions;
  members text[];
  leased int[];
  moved int[];
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  select sub.* into s from subscriptions sub join subscription_cursors c on c.subscription_id = sub.id where c.id = p_cursor;
  if not found or s.mode <> 'consumer-group' then return; end if;
  insert into group_slots (cursor_id, slot) select p_cursor, n from generate_series(0, s.slots - 1) n on conflict do nothing;
  delete from group_slots g where g.cursor_id = p_cursor and g.slot >= s.slots;
  select coalesce(array_agg(c.name order by c.name) filter (where c.set_aside is null), array_agg(c.name order by c.name)) into members
    from consumers c
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

  perform group_assign(p_cursor, null);
end $$;
