-- The first position of a stream that some subscription has not settled; null when no subscription counts yet. A broadcast
-- without any consumer counts from where it began: whoever joins gets what has come since.
create or replace function ephemeral_floor(p_stream_id bigint) returns bigint
language sql stable as $$
  select min(coalesce(f.floor, s.start_position + 1))
  from streams st
  join subscription_streams t on t.stream = st.name
  join subscriptions s on s.id = t.subscription_id
  left join lateral (
    select min(cursor_floor(c.id)) as floor from subscription_cursors c where c.subscription_id = s.id
  ) f on true
  where st.id = p_stream_id
$$;
