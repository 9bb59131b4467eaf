-- A type has changed: processes that know an earlier revision of the registry read it anew. Behind the registry's lock.
create or replace function schema_touch(p_type text, p_revision bigint) returns void
language plpgsql as $$
begin
  update schema_registry r set revision = p_revision;
  insert into schema_types (type, revision) values (p_type, p_revision)
    on conflict (type) do update set revision = excluded.revision;
end $$;
