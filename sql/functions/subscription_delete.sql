-- Deletes a subscription as good as at once: see subscription_retire; built-in queues go with their streams. False when there is none of that name.
create or replace function subscription_delete(p_name text) returns boolean
language plpgsql as $$
declare
  gone_id bigint;
begin
  select s.id into gone_id from subscriptions s where s.name = p_name and s.queue_of is null for update;
  if not found then return false; end if;
  perform subscription_retire(gone_id);
  return true;
end $$;
