-- Sets by which rule new versions of a type are judged; those that are there are not judged anew.
create or replace function schema_configure(p_type text, p_compatibility text, p_by text) returns void
language plpgsql as $$
declare
  current_revision bigint := schema_registry_lock();
begin
  if (select t.compatibility from schema_types t where t.type = p_type) = p_compatibility then return; end if;
  perform schema_touch(p_type, current_revision);
  update schema_types t set compatibility = p_compatibility where t.type = p_type;
  insert into schema_changes (type, version, change, detail, changed_by, changed_at)
    values (p_type, null, 'compatibility', to_json(p_compatibility), p_by, date_trunc('milliseconds', clock_timestamp()));
end $$;
