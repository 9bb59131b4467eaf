-- Does with delivered events whose time for reading is over what their subscriptions want: another attempt, the dead letters,
-- or nothing. p_limit receipts at most, and some thousands of events; a cursor that is busy is passed over, and comes with a later
-- call. Returns what was done under which cursor.
create or replace function receipts_expire(p_limit int) returns table (cursor_id bigint, action text, events int)
language plpgsql as $$
declare
  late record;
  expired bigint[];
  now_at constant timestamptz := clock_timestamp();
begin
  for late in
    select c.id, c.consumer, s.on_unread_expired, o.receipts
    from (
        select u.cursor_id, array_agg(u.id) as receipts
        from (
          select n.id, n.cursor_id, sum(n.events) over (order by n.due, n.id) - n.events as before
          from (
            select r.id, r.cursor_id, r.due, cardinality(r.positions) as events from receipts r
            where r.due > '-infinity' and r.due <= now_at order by r.due limit p_limit
          ) n
        ) u
        where u.before < 2000 group by u.cursor_id
      ) o
      join subscription_cursors c on c.id = o.cursor_id join subscriptions s on s.id = c.subscription_id
    order by c.id for no key update of c skip locked
  loop
    with gone as (
      delete from receipts r
        where r.id = any(late.receipts) and r.cursor_id = late.id and r.due <= now_at returning r.positions
    )
    select array_agg(u.position order by u.position) into expired from gone, unnest(gone.positions) u(position);
    continue when expired is null;
    if late.on_unread_expired = 'drop' then
      delete from delivery_failures f where f.cursor_id = late.id and f.position = any(expired);
    else
      perform delivery_fail(late.id, late.consumer, expired, null, 'not read in time', 0, late.on_unread_expired = 'dead-letter');
    end if;
    cursor_id := late.id;
    action := late.on_unread_expired;
    events := cardinality(expired);
    return next;
  end loop;
end $$;
