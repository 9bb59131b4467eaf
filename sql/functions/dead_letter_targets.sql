-- Dead letters of a subscription in the order of their ids, and the cursor under which each would be handed out again; null: none.
create or replace function dead_letter_targets(p_subscription bigint, p_ids bigint[], p_upto bigint)
returns table (id bigint, target bigint)
language sql stable as $$
  select l.id, coalesce(l.cursor_id, (
      select k.id from subscription_cursors k
      where k.subscription_id = p_subscription and k.consumer = any(array['', l.consumer]) order by k.consumer limit 1))
  from dead_letters l
  where l.subscription_id = p_subscription and (p_ids is null or l.id = any(p_ids)) and l.id <= p_upto
  order by l.id
$$;
