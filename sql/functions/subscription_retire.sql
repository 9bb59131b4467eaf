-- Makes a subscription as good as gone, at the cost of one row: its name is free, no stream waits for it, and whoever
-- claims is told to look again and finds nothing. Its rows go later.
create or replace function subscription_retire(p_subscription bigint) returns void
language sql as $$
  delete from subscription_streams t where t.subscription_id = p_subscription;
  update subscriptions s
    set deleted_at = clock_timestamp(), name = '$deleted:' || s.id, queue_of = '$deleted:' || s.id, revision = s.revision + 1
    where s.id = p_subscription;
$$;
