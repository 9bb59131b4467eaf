-- Marks an event as processed by the holder of its lease, once. outcome: marked; repeated (under the same lease, before);
-- already (under another one); stale (the lease does not hold the event, or is another consumer's, or the event is another one).
create or replace function processed_mark(
  p_cursor bigint, p_step bigint, p_part smallint, p_position bigint, p_consumer text, p_event_id text,
  out outcome text, out processed_at timestamptz
)
language plpgsql as $$
declare
  mark processed_events;
  holder text;
begin
  -- The lease stays locked until the commit: whoever takes it back afterwards sees the mark.
  select d.consumer into holder from deliveries d
    where d.step = p_step and d.cursor_id = p_cursor and d.part = p_part and d.state = 'leased' and d.due > clock_timestamp()
      and p_position = any(d.positions)
    for update;
  select * into mark from processed_events p where p.cursor_id = p_cursor and p.position = p_position;
  if found then
    processed_at := mark.processed_at;
    outcome := case when mark.event_id <> p_event_id then 'stale'
                    when mark.step <> p_step or mark.part <> p_part then 'already'
                    when mark.consumer <> p_consumer then 'stale'
                    else 'repeated' end;
    return;
  end if;
  -- An event that is gone from the log cannot be compared: its token names it all the same.
  if holder is distinct from p_consumer
    or exists (select from events e where e.position = p_position and e.id <> p_event_id) then
    outcome := 'stale';
    return;
  end if;
  insert into processed_events (cursor_id, position, event_id, consumer, step, part, processed_at)
    values (p_cursor, p_position, p_event_id, p_consumer, p_step, p_part, clock_timestamp())
    returning processed_events.processed_at into processed_at;
  outcome := 'marked';
end $$;
