-- Begins a change of the registry, behind all others, and returns its revision.
create or replace function schema_registry_lock() returns bigint
language sql as $$
  update schema_registry r set revision = r.revision + 1 returning r.revision
$$;
