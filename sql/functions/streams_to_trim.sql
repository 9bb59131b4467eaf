-- Looks through streams that forget, in the order of their ids behind p_after, and tells which have to be trimmed and
-- how far; changes and locks nothing. It ends after p_limit streams, or when it has found p_found.
--
-- reached: the id of the last stream looked at, null when there is none behind p_after.
-- offsets: the first offset that stays; bytes: the stream's bytes before it.
-- last_positions: the position of the last event where none stays, else null.
-- floors: the position up to which everything was settled, where that and not the retention decides, else null.
create or replace function streams_to_trim(
  p_after bigint, p_limit int, p_found int,
  out reached bigint, out ids bigint[], out revisions int[], out offsets bigint[], out bytes bigint[],
  out last_positions bigint[], out floors bigint[]
)
language plpgsql stable
-- Planned once, as index probes: planning for every partition anew would cost more than the probes.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  s record;
  ages bigint[] := '{}';
  cutoffs bigint[] := '{}';
  cutoff bigint;
  checkpoint bigint;
  head bigint;
  floor bigint;
  due bigint;
  settled bigint;
  is_settled boolean;
begin
  ids := '{}'; revisions := '{}'; offsets := '{}'; bytes := '{}'; last_positions := '{}'; floors := '{}';
  select l.checkpoint_position into checkpoint from log l;
  for s in
    select st.id, st.revision, st.ephemeral, st.max_age_ms, st.max_bytes, st.max_events, st.first_offset, st.first_bytes,
           coalesce(e."offset", st.checkpoint_offset) as last_offset,
           coalesce(e.position, st.checkpoint_position) as last_position,
           coalesce(e.stream_bytes, st.checkpoint_bytes) as last_bytes
    from streams st
      left join lateral (
        select ev."offset", ev.position, ev.stream_bytes from events ev
        where ev.stream_id = st.id and ev.position >= checkpoint
        order by ev."offset" desc limit 1
      ) e on true
    where st.id > p_after
      and (st.ephemeral or st.max_age_ms is not null or st.max_bytes is not null or st.max_events is not null)
    order by st.id limit p_limit
  loop
    reached := s.id;
    continue when s.last_offset < s.first_offset;
    due := s.first_offset;
    is_settled := false;

    if s.max_events is not null then
      due := greatest(due, s.last_offset - s.max_events + 1);
    end if;

    if s.max_bytes is not null and s.last_bytes - s.first_bytes > s.max_bytes then
      due := greatest(due, coalesce(
        stream_offset_by_bytes(s.id, s.ephemeral, s.last_bytes - s.max_bytes, s.last_position), s.last_offset + 1));
    end if;

    if s.max_age_ms is not null then
      -- Few ages are in use: each is looked up once.
      cutoff := cutoffs[array_position(ages, s.max_age_ms)];
      if cutoff is null then
        head := coalesce(head, (select e.position from events e where e.position >= checkpoint order by e.position desc limit 1));
        cutoff := log_position_at(clock_timestamp() - s.max_age_ms * interval '1 millisecond', head);
        ages := ages || s.max_age_ms;
        cutoffs := cutoffs || cutoff;
      end if;
      if s.last_position < cutoff then
        due := s.last_offset + 1;
      else
        due := greatest(due, (select e."offset" from stream_event_from(s.id, s.ephemeral, cutoff) e));
      end if;
    end if;

    if s.ephemeral and due <= s.last_offset then
      floor := ephemeral_floor(s.id);
      if floor is not null then
        settled := case when s.last_position < floor then s.last_offset + 1
                        else (select e."offset" from stream_event_from(s.id, true, floor) e) end;
        is_settled := settled > due;
        due := greatest(due, settled);
      end if;
    end if;

    continue when due = s.first_offset;
    ids := ids || s.id;
    revisions := revisions || s.revision;
    offsets := offsets || due;
    floors := floors || case when is_settled then floor end;
    if due > s.last_offset then
      last_positions := last_positions || s.last_position::bigint;
      bytes := bytes || s.last_bytes::bigint;
    else
      last_positions := last_positions || null::bigint;
      -- An offset lies as far before the last one as its position does, or nearer: that spares other partitions.
      bytes := bytes || (
        select e.stream_bytes - e.bytes from events e
        where e.stream_id = s.id and e."offset" = due
          and e.position >= due and e.position <= s.last_position - (s.last_offset - due));
    end if;
    exit when cardinality(ids) >= p_found;
  end loop;
end $$;
