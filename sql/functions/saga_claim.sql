-- Takes sagas that are due for an owner, those that have waited longest first. p_names: the sagas that it knows, p_versions: up to which version.
create or replace function saga_claim(p_owner uuid, p_names text[], p_versions int[], p_limit int)
  returns setof sagas
language plpgsql as $$
declare
  -- A value, which an index can be asked for.
  now_at constant timestamptz := clock_timestamp();
  known record;
  wanted int := p_limit;
  taken int;
begin
  -- In the order of the index, however many are due, and whatever the planner knew when there were few.
  perform set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true);
  -- By chance, so that none has to wait behind the others for ever.
  for known in select n.name, n.version from unnest(p_names, p_versions) n(name, version) order by random() loop
    exit when wanted <= 0;
    return query
      with due as (
        select s.number from sagas s
        where s.saga = known.name and s.due_at <= now_at and s.owner is null and s.version <= known.version
        order by s.due_at limit wanted
        for no key update skip locked
      )
      update sagas s set owner = p_owner, epoch = s.epoch + 1, due_at = null
      from due where s.number = due.number
      returning s.*;
    get diagnostics taken = row_count;
    wanted := wanted - taken;
  end loop;
end $$;
