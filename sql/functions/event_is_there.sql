-- Whether the event at a position can be read: it was neither trimmed nor deleted.
create or replace function event_is_there(p_position bigint) returns boolean
language sql stable as $$
  select exists (
    select from events e join streams s on s.id = e.stream_id where e.position = p_position and e."offset" >= s.first_offset)
$$;
