-- Deletes a subscription with all that is under it; built-in queues go with their streams. False when there is none of that name.
create or replace function subscription_delete(p_name text) returns boolean
language plpgsql as $$
declare
  gone_id bigint;
begin
  select s.id into gone_id from subscriptions s where s.name = p_name and s.queue_of is null;
  if not found then return false; end if;
  perform subscription_lock(gone_id);
  perform cursors_remove(gone_id, null);
  delete from subscriptions s where s.id = gone_id;
  return found;
end $$;
