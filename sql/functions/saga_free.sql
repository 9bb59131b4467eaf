-- Frees sagas whose owners have died, so that others take them over, and those of p_owner (null for none) that are not in its hand
-- (p_in_hand), because it does not know that it has them. Answers how many.
create or replace function saga_free(p_owner uuid, p_in_hand uuid[]) returns int
language plpgsql as $$
declare
  freed int;
begin
  with recursive owners as (
    (select s.owner from sagas s where s.owner is not null order by s.owner limit 1)
    union all
    select (select s.owner from sagas s where s.owner > o.owner order by s.owner limit 1) from owners o where o.owner is not null
  ), dead as (
    select o.owner from owners o
    where o.owner is not null
      and (o.owner = p_owner
        or not exists (select 1 from leases l where l.name = 'sagas:' || o.owner and l.until > clock_timestamp()))
  ), theirs as (
    select s.number from dead cross join lateral (
      select m.number from sagas m where m.owner = dead.owner and (m.owner is distinct from p_owner or m.id <> all(p_in_hand))
      for no key update skip locked) s
  )
  update sagas s
    set owner = null, due_at = case when s.paused then null else clock_timestamp() end,
        lost = s.lost + case when s.owner = p_owner then 0 else 1 end
    from theirs where s.number = theirs.number;
  get diagnostics freed = row_count;
  return freed;
end $$;
