-- Whether a message can have a subject of both: {type}, the last token or none of it, stands for any one token.
create or replace function nats_subjects_overlap(p_one text, p_other text) returns boolean
language sql immutable as $$
  select p_one = p_other
    or (p_one like '%.{type}' or p_other like '%.{type}')
      and regexp_replace(p_one, '[^.]*$', '') = regexp_replace(p_other, '[^.]*$', '')
$$;
