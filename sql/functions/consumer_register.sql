-- Makes a consumer a member with its metadata, as consumer_join does. A cursor of its own that is new begins behind
-- p_start; null: where the subscription began.
create or replace function consumer_register(
  p_subscription bigint, p_name text, p_metadata json, p_start bigint, out outcome text, out cursor_id bigint
)
language plpgsql as $$
begin
  select j.outcome, j.cursor_id into outcome, cursor_id from consumer_join(p_subscription, p_name, p_metadata) j;
  if p_start is null then return; end if;
  -- Nobody has seen a cursor that this transaction has made.
  update subscription_cursors k set start_position = p_start
    where k.id = consumer_register.cursor_id and k.consumer = p_name and k.xmin = pg_current_xact_id()::xid;
end $$;
