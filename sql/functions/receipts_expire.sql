-- Does with delivered events whose time for reading is over what their subscriptions want: another attempt, the dead letters,
-- or nothing. p_limit cursors at most; one that is busy is passed over, and comes with the next call. Returns what was done
-- under which cursor.
create or replace function receipts_expire(p_limit int) returns table (cursor_id bigint, action text, events int)
language plpgsql as $$
declare
  late record;
  expired bigint[];
begin
  for late in
    select c.id, c.consumer, s.on_unread_expired from subscription_cursors c join subscriptions s on s.id = c.subscription_id
    where c.id in (select r.cursor_id from receipts r where r.due > '-infinity' and r.due <= clock_timestamp() order by r.due limit p_limit)
    order by c.id for no key update of c skip locked
  loop
    with gone as (
      delete from receipts r
        where r.cursor_id = late.id and r.positions[1] > -1 and r.due <= clock_timestamp() returning r.positions
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
