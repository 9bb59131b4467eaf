-- Removes cursors of a deleted subscription with all that is under them: p_cursors of them at most, and p_limit rows of a table.
-- The ledger goes first, as in cursors_remove. True when there may be more.
create or replace function cursors_clear(p_subscription bigint, p_cursors int, p_limit int) returns boolean
language plpgsql as $$
declare
  ids bigint[];
  removed int;
begin
  ids := array(
    select c.id from subscription_cursors c where c.subscription_id = p_subscription order by c.id limit p_cursors for no key update);
  if ids = '{}' then return false; end if;
  -- By their keys, for an acknowledgement may make a new version of a row meanwhile.
  with listed as materialized (
    select d.step, d.cursor_id, d.part, d.piece from deliveries d where d.cursor_id = any(ids) and d.due > '-infinity' limit p_limit
  )
  delete from deliveries d using listed l where d.step = l.step and d.cursor_id = l.cursor_id and d.part = l.part and d.piece = l.piece;
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from receipts r where r.id = any(array(
    select o.id from receipts o where o.cursor_id = any(ids) and o.positions[1] > -1 limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from cursor_steps n where n.ctid = any(array(select o.ctid from cursor_steps o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from revoked_deliveries n where n.ctid = any(array(select o.ctid from revoked_deliveries o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from delivery_failures n where n.ctid = any(array(select o.ctid from delivery_failures o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from processed_events n where n.ctid = any(array(select o.ctid from processed_events o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from early_reads n where n.ctid = any(array(select o.ctid from early_reads o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  delete from replayed_letters n where n.ctid = any(array(select o.ctid from replayed_letters o where o.cursor_id = any(ids) limit p_limit));
  get diagnostics removed = row_count;
  if removed = p_limit then return true; end if;
  -- An acknowledgement may have taken some of those that were listed: then there are more.
  if exists (select from deliveries d where d.cursor_id = any(ids) and d.due > '-infinity')
     or exists (select from receipts r where r.cursor_id = any(ids) and r.positions[1] > -1) then return true; end if;
  delete from subscription_cursors c where c.id = any(ids);
  return cardinality(ids) = p_cursors;
end $$;
