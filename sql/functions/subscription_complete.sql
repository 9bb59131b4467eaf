-- Notes whether a subscription is completed: it has cursors, and each of them is.
create or replace function subscription_complete(p_subscription bigint) returns void
language plpgsql as $$
declare
  is_completed boolean;
begin
  perform from subscriptions s where s.id = p_subscription and s.terminal is not null for no key update;
  if not found then return; end if;
  -- In a statement of its own: of two cursors that complete in the same moment, the second to come here sees both.
  select coalesce(bool_and(exists (
      select from cursor_ends e where e.cursor_id = c.id and e.completed_at is not null
        and e.position = (select n.place from cursor_next(c.id, clock_timestamp()) n))), false)
    into is_completed from subscription_cursors c where c.subscription_id = p_subscription;
  update subscriptions s set completed_at = case when is_completed then date_trunc('milliseconds', clock_timestamp()) end
    where s.id = p_subscription and (s.completed_at is not null) <> is_completed;
end $$;
