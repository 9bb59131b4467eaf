-- Registers a version of a type, or changes the upcaster and the description of one that is there.
-- outcome: created, changed, unchanged; conflict (the version has another schema), gap (it is not the next one), stale (the
-- version before, or the compatibility, is not what the caller judged by: judge anew).
-- p_upcast_language: jsonata, code, none, keep (whatever is there), or keep-expression (if it is one).
create or replace function schema_register(
  p_type text, p_version int, p_schema text, p_content_hash uuid, p_description text,
  p_upcast_language text, p_upcast_expression text, p_reads_previous boolean, p_by text,
  p_compatibility text, p_previous_hash uuid,
  out outcome text, out latest int
)
language plpgsql as $$
declare
  current_revision bigint := schema_registry_lock();
  now_at timestamptz := date_trunc('milliseconds', clock_timestamp());
  before schema_versions;
  language text := nullif(p_upcast_language, 'none');
begin
  select coalesce(max(v.version), 0) into latest from schema_versions v where v.type = p_type;
  if coalesce((select t.compatibility from schema_types t where t.type = p_type), 'backward') <> p_compatibility
     or (select v.content_hash from schema_versions v where v.type = p_type and v.version = p_version - 1) is distinct from p_previous_hash then
    outcome := 'stale';
    return;
  end if;
  select * into before from schema_versions v where v.type = p_type and v.version = p_version;
  if not found then
    if p_version <> latest + 1 then
      outcome := 'gap';
      return;
    end if;
    if language in ('keep', 'keep-expression') then language := null; end if;
    outcome := 'created';
    latest := p_version;
    perform schema_touch(p_type, current_revision);
    insert into schema_versions (type, version, schema, content_hash, description, upcast_language, upcast_expression, reads_previous,
                                 registered_at, registered_by)
      values (p_type, p_version, p_schema::json, p_content_hash, p_description, language, p_upcast_expression, p_reads_previous, now_at, p_by);
    insert into schema_changes (type, version, change, detail, changed_by, changed_at)
      values (p_type, p_version, 'registered',
              json_build_object('description', p_description, 'upcast', schema_upcast(language, p_upcast_expression)), p_by, now_at);
    return;
  end if;
  if before.content_hash <> p_content_hash then
    outcome := 'conflict';
    return;
  end if;
  if language = 'keep' or (language = 'keep-expression' and before.upcast_language = 'jsonata') then
    language := before.upcast_language;
    p_upcast_expression := before.upcast_expression;
  end if;
  language := nullif(language, 'keep-expression');
  outcome := 'unchanged';
  if (before.upcast_language, before.upcast_expression) is distinct from (language, p_upcast_expression) then
    outcome := 'changed';
    insert into schema_changes (type, version, change, detail, changed_by, changed_at)
      values (p_type, p_version, 'upcaster', schema_upcast(language, p_upcast_expression), p_by, now_at);
  end if;
  if before.description is distinct from p_description then
    outcome := 'changed';
    insert into schema_changes (type, version, change, detail, changed_by, changed_at)
      values (p_type, p_version, 'description', to_json(p_description), p_by, now_at);
  end if;
  if outcome = 'changed' then
    perform schema_touch(p_type, current_revision);
    update schema_versions v set description = p_description, upcast_language = language, upcast_expression = p_upcast_expression
      where v.type = p_type and v.version = p_version;
  end if;
end $$;
