-- Pauses, resumes or cancels a saga, whoever has it: `missing`, `ended`, `unchanged`, or `changed`. A saga that is free is due at
-- once; its owner is told at its next record. p_type: of the event that tells of it, p_data: what it tells.
create or replace function saga_flag(p_id uuid, p_action text, p_type text, p_data json) returns text
language plpgsql as $$
declare
  s sagas;
begin
  select * into s from sagas g where g.id = p_id for no key update;
  if not found then
    return 'missing';
  elsif s.ended_at is not null then
    return 'ended';
  elsif p_action = 'pause' and s.paused or p_action = 'resume' and not s.paused
    or p_action = 'cancel' and (s.cancel_requested or s.state = 'Compensating')
  then
    return 'unchanged';
  end if;
  s.paused := case p_action when 'pause' then true when 'resume' then false else s.paused end;
  update sagas g
    set paused = s.paused, cancel_requested = g.cancel_requested or p_action = 'cancel', updated_at = clock_timestamp(),
        due_at = case when s.paused then null else clock_timestamp() end
    where g.number = s.number;
  insert into outbox (stream, type, data, correlation_id, partition_key, attributes, own)
    values ('saga-' || s.saga, p_type, p_data, s.correlation_id, p_id::text, jsonb_build_object('subject', p_id), true);
  return 'changed';
end $$;
