-- How much a delivery promises: a subscription may not promise more than its streams.
create or replace function delivery_strength(p_delivery text) returns int
language sql immutable as $$
  select array_position(array['at-most-once', 'at-least-once', 'exactly-once'], p_delivery)
$$;
