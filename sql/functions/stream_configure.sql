-- Creates a stream or changes its configuration; returns whether the stream is new.
create or replace function stream_configure(p_name text, p_replay boolean) returns boolean
language plpgsql as $$
declare
  s streams;
begin
  -- A row without an event may be removed between the two.
  loop
    insert into streams (name) values (p_name) on conflict (name) do nothing;
    select * into s from streams st where st.name = p_name for no key update;
    exit when found;
  end loop;
  update streams st set replay = p_replay, created_at = coalesce(st.created_at, date_trunc('milliseconds', clock_timestamp())) where st.id = s.id;
  return s.created_at is null;
end $$;
