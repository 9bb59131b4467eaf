-- Renews those of the leases that the owner holds, and takes those that are free or have run out; answers those it holds now.
-- One that has run out and that nobody took in between stays the owner's, with its epoch.
--
-- No row is waited for, or one that somebody holds for long would let all others run out. A renewal passes by those who check the
-- lease (`for key share`); who would take it over finds it locked by them, and comes again.
create or replace function lease_hold(p_owner uuid, p_names text[], p_ttl interval)
  returns table (held text, held_epoch bigint)
language plpgsql as $$
begin
  insert into leases (name, owner, epoch, until)
    select n.name, '00000000-0000-0000-0000-000000000000', 0, '-infinity' from unnest(p_names) n(name)
    where not exists (select 1 from leases l where l.name = n.name)
    order by n.name
    on conflict (name) do nothing;

  return query
    with mine as (
      select l.name from leases l where l.name = any(p_names) and l.owner = p_owner for no key update skip locked
    )
    update leases l set until = clock_timestamp() + p_ttl from mine where l.name = mine.name
      returning l.name, l.epoch;

  return query
    with free as (
      select l.name from leases l
      where l.name = any(p_names) and l.owner <> p_owner
        -- A time far ahead of the clock is one from before the clock was set back.
        and (l.until <= clock_timestamp() or l.until > clock_timestamp() + 10 * p_ttl)
      for update skip locked
    )
    update leases l set owner = p_owner, epoch = l.epoch + 1, until = clock_timestamp() + p_ttl
      from free where l.name = free.name
      returning l.name, l.epoch;
end $$;
