-- Whether the caller is to do a duty now that one process does for all: true for one caller in p_every. A duty must be
-- safe all the same if a slow round of it overlaps the next one.
create or replace function duty_begin(p_name text, p_every interval) returns boolean
language plpgsql as $$
declare
  now constant timestamptz := clock_timestamp();
begin
  insert into duties (name, begun_at) values (p_name, '-infinity') on conflict (name) do nothing;
  -- A time far ahead of the clock is one from before the clock was set back; a little ahead is whoever came just before.
  update duties d set begun_at = now
    where d.name = p_name and (d.begun_at <= now - p_every or d.begun_at > now + p_every);
  return found;
end $$;
