-- Starts sagas, each with its own outcome: 0 started, 1 started before by the same request, 2 its id belongs to another request.
-- p_run: it is the owner's at once; else it is due for whoever comes first. p_steps: names joined by commas. For the events see
-- saga_emit.
create or replace function saga_start(
  p_owner uuid, p_ids uuid[], p_run boolean[], p_versions int[], p_hashes uuid[], p_sagas text, p_states text, p_correlations text,
  p_steps text, p_progress text, p_data text,
  e_saga int[], e_own boolean[], e_version int[], e_stream text, e_type text, e_data text, e_id text,
  e_correlation text, e_partition_key text, e_attributes text
) returns int[]
language plpgsql as $$
declare
  started uuid[];
begin
  with new as (
    insert into sagas as s (id, saga, version, correlation_id, state, owner, epoch, due_at, steps, progress, data, request_hash)
      select n.id, n.saga, n.version, n.correlation_id, n.state, case when n.run then p_owner end, 1,
             case when not n.run then clock_timestamp() end, string_to_array(n.steps, ','), n.progress::json, n.data::json, n.hash
      from unnest(
        p_ids, p_run, p_versions, p_hashes, string_to_array(p_sagas, E'\x1e'), string_to_array(p_states, E'\x1e'),
        string_to_array(p_correlations, E'\x1e'), string_to_array(p_steps, E'\x1e'), string_to_array(p_progress, E'\x1e'),
        string_to_array(p_data, E'\x1e')
      ) with ordinality n(id, run, version, hash, saga, state, correlation_id, steps, progress, data, n)
      order by n.id
      on conflict (id) do nothing
      returning s.id
  )
  select coalesce(array_agg(new.id), '{}') into started from new;
  perform saga_emit(
    array(select u.n::int from unnest(p_ids) with ordinality u(id, n) where u.id = any(started)),
    e_saga, e_own, e_version, e_stream, e_type, e_data, e_id, e_correlation, e_partition_key, e_attributes);
  return array(
    select case
      when u.id = any(started) then 0
      when (select s.request_hash from sagas s where s.id = u.id) is not distinct from u.hash then 1
      else 2 end
    from unnest(p_ids, p_hashes) with ordinality u(id, hash, n) order by u.n);
end $$;
