-- Removes some rows of deleted or trimmed events and their ids from the disk; returns how many events went.
create or replace function stream_purge(p_limit int) returns int
language plpgsql as $$
declare
  s streams;
  upto bigint;
begin
  select * into s from streams st where st.purged_offset < st.first_offset order by st.id limit 1 for no key update skip locked;
  if not found then return 0; end if;
  upto := least(s.first_offset, s.purged_offset + p_limit);
  -- Index probes only: fresh statistics lag behind a burst, and a join planned on them compares each id with each event.
  perform set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
          set_config('enable_mergejoin', 'off', true), set_config('enable_material', 'off', true);
  delete from event_ids i using events e
    where e.stream_id = s.id and e."offset" >= s.purged_offset and e."offset" < upto
      and i.id = e.id and i.stream_id = s.id and i."offset" = e."offset";
  delete from events e where e.stream_id = s.id and e."offset" >= s.purged_offset and e."offset" < upto;
  update streams st set purged_offset = upto where st.id = s.id;
  return (upto - s.purged_offset)::int;
end $$;
