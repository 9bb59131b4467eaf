-- Adds a generation whose tables the same transaction has made, as the live one or as the one that is being built; one that was
-- being built before is retired. Its number was given to it before.
create or replace function projection_generation_add(
  p_projection text, p_generation int, p_role text, p_schema_name text, p_definition uuid, p_version int, p_about json,
  p_position bigint, p_events bigint, p_owner uuid, p_epoch bigint
) returns void
language plpgsql as $$
declare
  is_paused boolean;
begin
  perform lease_check('projection:' || p_projection, p_owner, p_epoch);
  select p.paused into strict is_paused from projections p where p.name = p_projection for no key update;
  if p_role = 'building' then
    update projection_generations g set role = 'retired', role_since = clock_timestamp()
      where g.projection = p_projection and g.role = 'building';
    update projections p set rebuild_requested = null where p.name = p_projection;
  end if;
  insert into projection_generations
      (projection, generation, role, schema_name, definition, version, about, position, events, paused)
    values (p_projection, p_generation, p_role, p_schema_name, p_definition, p_version, p_about, p_position, p_events, is_paused);
end $$;
