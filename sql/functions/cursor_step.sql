-- Takes a step that moves a cursor nowhere, for what is entered under its number. The caller has locked the cursor.
create or replace function cursor_step(p_cursor bigint) returns bigint
language sql as $$
  insert into cursor_steps (cursor_id, step, position)
    select p_cursor, n.step, n.place from cursor_next(p_cursor, clock_timestamp()) n
    returning step
$$;
