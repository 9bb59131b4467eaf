-- Trims streams as streams_to_trim found them: hides the events before each offset at once and for good, records that in
-- the log, and leaves the rows to the purge. Returns how many events went, and the position of the record.
--
-- All that costs time is done before. Here the rows are locked, in the order in which appends lock them; whoever was
-- configured, deleted or trimmed anew since is passed over, and so is a stream of which less is settled than was found;
-- the log lock comes last. p_period: ids of events that are trimmed within one period are forgotten together.
create or replace function streams_trim(
  p_ids bigint[], p_revisions int[], p_offsets bigint[], p_bytes bigint[], p_last_positions bigint[], p_floors bigint[],
  p_period interval,
  out trimmed bigint, out "position" bigint
)
language plpgsql as $$
declare
  names text[];
  due_ids bigint[]; due_from bigint[]; due_to bigint[]; due_bytes bigint[]; due_last bigint[];
begin
  perform from streams s where s.id = any(p_ids) order by s.name for no key update;
  select array_agg(s.name order by s.name), array_agg(s.id order by s.name), array_agg(s.first_offset order by s.name),
         array_agg(t.to_offset order by s.name), array_agg(t.bytes order by s.name), array_agg(t.last_position order by s.name),
         coalesce(sum(t.to_offset - s.first_offset), 0)
    into names, due_ids, due_from, due_to, due_bytes, due_last, trimmed
    from unnest(p_ids, p_revisions, p_offsets, p_bytes, p_last_positions, p_floors)
           as t(id, revision, to_offset, bytes, last_position, floor)
      join streams s on s.id = t.id and s.revision = t.revision and s.first_offset < t.to_offset
    where t.floor is null or ephemeral_floor(s.id) >= t.floor;
  if due_ids is null then return; end if;

  -- Of a stream without a visible event the end is noted: its rows may go before the checkpoint comes to them.
  update streams s
    set first_offset = d.to_offset, first_bytes = d.bytes,
        checkpoint_offset = case when d.is_end then d.to_offset - 1 else s.checkpoint_offset end,
        checkpoint_bytes = case when d.is_end then d.bytes else s.checkpoint_bytes end,
        checkpoint_position = case when d.is_end then d.last_position else s.checkpoint_position end
    from (
      select u.id, u.to_offset, u.bytes, u.last_position,
             u.last_position is not null and st.checkpoint_offset < u.to_offset - 1 as is_end
      from unnest(due_ids, due_to, due_bytes, due_last) as u(id, to_offset, bytes, last_position)
        join streams st on st.id = u.id
    ) d
    where s.id = d.id;

  insert into stream_purges (stream_id, from_offset, to_offset)
    select * from unnest(due_ids, due_from, due_to) as u(id, from_offset, to_offset) order by u.id
    on conflict (stream_id) do update set to_offset = excluded.to_offset;
  insert into event_id_horizons (trimmed_before, stream_id, below_offset)
    select date_bin(p_period, clock_timestamp(), 'epoch') + p_period, u.id, u.to_offset
    from unnest(due_ids, due_to) as u(id, to_offset)
    on conflict (trimmed_before, stream_id) do update set below_offset = excluded.below_offset;

  "position" := log_control('sluice.streams-trimmed', json_build_object('streams', (
    select json_agg(json_build_object('stream', u.name, 'from', u.from_offset::text, 'to', (u.to_offset - 1)::text) order by u.name)
    from unnest(names, due_from, due_to) as u(name, from_offset, to_offset))));
end $$;
