-- Renews those of the leases that the owner holds, and takes those that are free or have run out; answers those it holds now.
-- One that has run out and that nobody took in between stays the owner's, with its epoch.
create or replace function lease_hold(p_owner uuid, p_names text[], p_ttl interval)
  returns table (held text, held_epoch bigint)
language plpgsql as $$
begin
  return query
    insert into leases as l (name, owner, epoch, until)
      select n.name, p_owner, 1, clock_timestamp() + p_ttl from unnest(p_names) n(name) order by n.name
      on conflict (name) do update
        set owner = p_owner,
            epoch = l.epoch + case when l.owner = p_owner then 0 else 1 end,
            until = clock_timestamp() + p_ttl
        -- A time far ahead of the clock is one from before the clock was set back.
        where l.owner = p_owner or l.until <= clock_timestamp() or l.until > clock_timestamp() + 10 * p_ttl
      returning l.name, l.epoch;
end $$;
