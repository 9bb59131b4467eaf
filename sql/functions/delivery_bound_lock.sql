-- Keeps what streams promise, and what subscriptions of them may, from changing at the same time: until the end of the
-- transaction, and whether there are rows of those streams yet or not. Subscriptions share, and a stream that comes to promise
-- less excludes them. Called behind the locks of streams' rows; what is read behind it, in a later statement, holds.
create or replace function delivery_bound_lock(p_streams text[], p_exclude boolean) returns void
language plpgsql as $$
declare
  name text;
begin
  for name in select distinct u.name collate "C" from unnest(p_streams) u(name) order by 1 loop
    if p_exclude then perform pg_advisory_xact_lock(hashtext('sluice delivery'), hashtext(name));
    else perform pg_advisory_xact_lock_shared(hashtext('sluice delivery'), hashtext(name));
    end if;
  end loop;
end $$;
