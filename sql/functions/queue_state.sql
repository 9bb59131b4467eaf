-- The events of an ephemeral stream that its built-in queue has not settled, and the dead letters of that queue. A queue
-- that nobody has used yet has settled nothing.
create or replace function queue_state(p_stream_id bigint, out pending bigint, out dead_letters bigint)
language plpgsql stable as $$
declare
  q record;
begin
  select s.id, k.place, k.leased + k.waiting + k.parked as unsettled into q
    from streams st join subscriptions s on s.queue_of = st.name join cursor_states k on k.subscription_id = s.id
    where st.id = p_stream_id;
  if not found then
    select h.last_offset - h.first_offset + 1, 0 into pending, dead_letters from stream_heads h where h.id = p_stream_id;
    return;
  end if;
  select b.events + q.unsettled into pending from subscription_backlog(q.id, q.place, 1) b;
  select count(*) into dead_letters from dead_letters l where l.subscription_id = q.id;
end $$;
