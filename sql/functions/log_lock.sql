-- The advisory lock that serialises the assignment of positions, one for each schema of a database.
create or replace function log_lock() returns bigint
language sql stable as $$
  select hashtextextended('sluice log ' || current_schema(), 0)
$$;
