-- Notes that a cursor ends at an event of a terminal type, which the caller is about to hand out: from then on, whoever finds
-- the cursor there knows. Returns ok, gone (no such cursor), or changed: p_revision is not the subscription's, whose types
-- may be others.
create or replace function cursor_end(p_cursor bigint, p_revision bigint, p_position bigint) returns text
language plpgsql as $$
begin
  -- In the order of subscription_lock.
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  -- A change of the configuration forgets the ends of before: it comes wholly before this, or after.
  perform from subscriptions s
    where s.id = (select c.subscription_id from subscription_cursors c where c.id = p_cursor) and s.revision = p_revision
    for share;
  if found then
    insert into cursor_ends (cursor_id, position)
      select c.id, p_position from subscription_cursors c where c.id = p_cursor
      on conflict do nothing;
    return 'ok';
  end if;
  return case when exists (select from subscription_cursors c where c.id = p_cursor) then 'changed' else 'gone' end;
end $$;
