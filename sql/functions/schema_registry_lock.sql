-- Begins a change of the registry, behind all others, and returns the revision that it will have.
create or replace function schema_registry_lock() returns bigint
language sql as $$
  select r.revision + 1 from schema_registry r for update
$$;
