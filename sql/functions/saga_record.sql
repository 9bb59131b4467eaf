-- Records how far sagas have come, each with its own outcome: 0 recorded, 1 recorded before, 2 it is somebody else's by now,
-- 4 + flags when somebody paused (1) or cancelled (2) it, or took that back, and the owner did not know: then nothing is recorded.
-- p_owner: null for sagas that nobody owns. p_flags: what the owner knows. p_data: absent where the data stay as they are.
-- p_rest_ms: it is given up, and due after so many milliseconds, -1 for when somebody asks; null where the owner goes on.
-- p_waiting: the type of the event that is waited for; where it is not matched by the correlation, behind it by what it is matched and for which
-- value, between \x1d. For the events see saga_emit.
create or replace function saga_record(
  p_owner uuid, p_ids uuid[], p_epochs bigint[], p_turns bigint[], p_flags int[], p_versions int[], p_rest_ms double precision[],
  p_states text, p_waiting text, p_steps text, p_progress text, p_data text,
  e_saga int[], e_own boolean[], e_version int[], e_stream text, e_type text, e_data text, e_id text,
  e_correlation text, e_partition_key text, e_attributes text
) returns int[]
language plpgsql as $$
declare
  outcomes int[];
begin
  -- Locked in one order by all, or two batches could wait for one another.
  perform 1 from sagas s where s.id = any(p_ids) order by s.id for no key update;
  outcomes := array(
    select case
      when s.id is null then 2
      when s.owner is distinct from p_owner or s.epoch <> r.epoch or s.turn not in (r.turn, r.turn + 1) then 2
      when s.turn = r.turn + 1 then 1
      when s.paused::int + 2 * s.cancel_requested::int <> r.flags then 4 + s.paused::int + 2 * s.cancel_requested::int
      else 0 end
    from unnest(p_ids, p_epochs, p_turns, p_flags) with ordinality r(id, epoch, turn, flags, n)
      left join sagas s on s.id = r.id
    order by r.n);
  update sagas s
    set state = r.state, turn = r.turn + 1, lost = 0, version = r.version, waiting_type = r.waiting,
        waiting_by = r.waiting_by, waiting_key = r.waiting_key,
        steps = string_to_array(r.steps, ','), progress = r.progress::json, data = coalesce(r.data::json, s.data),
        updated_at = clock_timestamp(),
        owner = case when r.rest_ms is null then s.owner end,
        -- Whoever could not wait until the owner has given it up has left a time.
        due_at = case
          when r.rest_ms is null or r.ended or s.paused then null
          when r.rest_ms < 0 then s.due_at
          else least(s.due_at, clock_timestamp() + r.rest_ms * interval '1 millisecond') end,
        ended_at = case when r.ended then clock_timestamp() end
    from (
      select r.*, r.state in ('Completed', 'Compensated', 'Failed') as ended,
             split_part(r.awaited, E'\x1d', 1) as waiting, nullif(split_part(r.awaited, E'\x1d', 2), '') as waiting_by,
             nullif(split_part(r.awaited, E'\x1d', 3), '') as waiting_key
      from unnest(
        p_ids, p_turns, p_versions, p_rest_ms, string_to_array(p_states, E'\x1e'), string_to_array(p_waiting, E'\x1e', E'\x1f'),
        string_to_array(p_steps, E'\x1e'), string_to_array(p_progress, E'\x1e'), string_to_array(p_data, E'\x1e', E'\x1f'),
        outcomes
      ) r(id, turn, version, rest_ms, state, awaited, steps, progress, data, outcome)
    ) r
    where s.id = r.id and r.outcome = 0;
  perform saga_emit(
    array(select u.n::int from unnest(outcomes) with ordinality u(outcome, n) where u.outcome = 0),
    e_saga, e_own, e_version, e_stream, e_type, e_data, e_id, e_correlation, e_partition_key, e_attributes);
  return outcomes;
end $$;
