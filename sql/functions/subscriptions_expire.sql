-- Deletes subscriptions that have not been used for as long as they are configured to live. A member is a use, noted here
-- a few times within that span, at most once a minute. Returns their names.
create or replace function subscriptions_expire(p_limit int) returns setof text
language plpgsql as $$
declare
  unused record;
begin
  update subscriptions s set used_at = clock_timestamp()
    where s.expires_after_ms is not null and s.deleted_at is null
      and s.used_at < clock_timestamp() - least(s.expires_after_ms / 4, 60000) * interval '1 millisecond'
      and exists (select from consumers m where m.subscription_id = s.id);
  for unused in
    select s.id, s.name from subscriptions s
    where s.expires_after_ms is not null and s.deleted_at is null
      and s.used_at < clock_timestamp() - s.expires_after_ms * interval '1 millisecond'
    order by s.id limit p_limit for update skip locked
  loop
    -- Whoever joins locks the row first: what is a member by now is seen by this later statement.
    continue when exists (select from consumers m where m.subscription_id = unused.id);
    perform subscription_retire(unused.id);
    return next unused.name;
  end loop;
end $$;
