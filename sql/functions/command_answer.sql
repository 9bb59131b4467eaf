-- Keeps the answer of a command that emitted nothing; false when an answer is there already.
create or replace function command_answer(p_key text, p_request_hash uuid, p_answer json) returns boolean
language plpgsql as $$
begin
  -- As log_append does: an answer that comes between its look and its insert would fail it.
  perform command_answers_lock(array[p_key]);
  insert into command_answers (key, request_hash, answer, offsets, recorded_at)
    values (p_key, p_request_hash, p_answer, '{}', clock_timestamp())
    on conflict (key) do nothing;
  return found;
end $$;
