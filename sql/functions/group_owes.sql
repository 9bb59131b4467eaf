-- Whether something waits for a member of a consumer group that may be handed to it now: of a slot that is its own already, and
-- not behind an event of its key that is due later.
create or replace function group_owes(p_cursor bigint, p_member text) returns boolean
language plpgsql stable as $$
declare
  now_at constant timestamptz := clock_timestamp();
  askers int[];
  blocked bigint[];
  blocked_from bigint[];
begin
  select array_agg(case when g.owner = p_member and g.next_owner is null then 1 else 0 end order by n.slot) into askers
    from subscription_cursors c join subscriptions s on s.id = c.subscription_id
      cross join lateral generate_series(0, s.slots - 1) n(slot)
      left join group_slots g on g.cursor_id = p_cursor and g.slot = n.slot
    where c.id = p_cursor;
  if askers is null then return false; end if;
  select array_agg(l.key order by l.key), array_agg(l.position order by l.key) into blocked, blocked_from
    from (
      select u.key, min(u.position) as position
      from deliveries d cross join lateral unnest(d.keys, d.positions) u(key, position)
      where d.cursor_id = p_cursor and d.owner = p_member and d.owner >= '' and d.due > now_at
      group by u.key
    ) l;
  return exists (
    select from group_ready(p_cursor, p_member, askers, 1, now_at, blocked, blocked_from, 1) r where r.positions is not null);
end $$;
