-- Removes rows of one deleted subscription, p_limit dead letters at most, and at last the subscription. True when there was one.
create or replace function subscription_clear(p_limit int) returns boolean
language plpgsql as $$
declare
  gone_id bigint;
  removed int;
begin
  select s.id into gone_id from subscriptions s where s.deleted_at is not null order by s.id limit 1;
  if not found then return false; end if;
  perform subscription_lock(gone_id);
  delete from dead_letters l where l.id = any(array(
    select d.id from dead_letters d where d.subscription_id = gone_id order by d.id limit p_limit));
  get diagnostics removed = row_count;
  if removed < p_limit then
    perform cursors_remove(gone_id, null);
    delete from subscriptions s where s.id = gone_id;
  end if;
  return true;
end $$;
