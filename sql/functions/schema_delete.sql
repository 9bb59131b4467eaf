-- Deletes the newest version of a type. Returns deleted, not-found, older (a later version builds on it), or received (a
-- subscription asks for it).
create or replace function schema_delete(p_type text, p_version int, p_by text) returns text
language plpgsql as $$
declare
  current_revision bigint := schema_registry_lock();
begin
  if not exists (select from schema_versions v where v.type = p_type and v.version = p_version) then return 'not-found'; end if;
  if exists (select from schema_versions v where v.type = p_type and v.version > p_version) then return 'older'; end if;
  if exists (select from subscriptions s where s.deleted_at is null and s.receive_as -> 'versions' ->> p_type = p_version::text) then
    return 'received';
  end if;
  delete from schema_versions v where v.type = p_type and v.version = p_version;
  perform schema_touch(p_type, current_revision);
  insert into schema_changes (type, version, change, changed_by, changed_at)
    values (p_type, p_version, 'deleted', p_by, date_trunc('milliseconds', clock_timestamp()));
  return 'deleted';
end $$;
