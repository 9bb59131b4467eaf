-- Where each cursor stands: what it has handed out, what is out or waits, and the first position that is not settled.
create or replace view cursor_states as
select c.id, c.subscription_id, c.consumer,
       coalesce(s.position, c.start_position) as place,
       least(d.first_position, r.first_position, coalesce(s.position, c.start_position) + 1) as floor,
       coalesce(d.leased, 0)::bigint as leased, coalesce(d.waiting, 0)::bigint as waiting, coalesce(d.parked, 0)::bigint as parked
from subscription_cursors c
left join lateral (
  select n.position from cursor_steps n where n.cursor_id = c.id order by n.step desc limit 1
) s on true
left join lateral (
  select min(v.positions[1]) as first_position,
         sum(cardinality(v.positions)) filter (where v.state = 'leased') as leased,
         sum(cardinality(v.positions)) filter (where v.state = 'ready') as waiting,
         sum(cardinality(v.positions)) filter (where v.state = 'parked') as parked
  from deliveries v where v.cursor_id = c.id and v.positions[1] > -1
) d on true
left join lateral (
  select v.positions[1] as first_position from receipts v where v.cursor_id = c.id and v.positions[1] > -1 order by v.positions[1] limit 1
) r on true;
