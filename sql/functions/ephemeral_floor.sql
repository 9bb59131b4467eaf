-- The first position of an ephemeral stream that some subscription has not settled; null when no subscription counts yet.
-- There are no subscriptions in this version, so that none counts: an ephemeral stream forgets by its retention alone.
create or replace function ephemeral_floor(p_stream_id bigint) returns bigint
language sql stable as $$
  select null::bigint
$$;
