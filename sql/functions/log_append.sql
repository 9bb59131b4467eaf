-- Appends a batch of requests in one transaction; each request is stored or refused on its own.
--
-- Order matters: missing streams are created and stream rows locked in the order of their names (no deadlock between
-- batches), each looked up by itself, since a join planned while there were few would scan them all later; duplicates
-- are looked for only behind that lock (before it, a retry elsewhere is stored twice); the log lock comes last and is
-- held until commit, so positions become visible in order and without gaps.
--
-- p_streams: distinct stream names, sorted. r_*: one element a request, e_*: one an event, k_*: one a distinct
-- producer-given (stream, source, id); indexes are 1-based. Lists of text are joined by U+001E, an absent one is U+001F:
-- neither can occur in an attribute or in JSON, and splitting is several times cheaper than parsing array literals.
-- r_expected: null = any version, -1 = nothing was ever appended, -2 = something was, else the last offset.
-- r_born: beside a last offset, where the stream's present life must begin, since a deletion leaves the last offset as it is.
-- r_last_id: beside those, the id that the last event must have. Who builds on a request that is still under way expects its
-- event, and not whatever another process has put at that offset; null where nobody does.
-- r_validation: how the request was checked against the schemas of its events: 0 not at all (as is null for all), 1 by a stream
-- that warns, 2 by one that enforces, 3 by one that enforces, and it does not match.
-- r_group: neighbouring requests of one number are stored together or not at all, judged on what stood before the first of them;
-- null for all when each stands for itself.
-- a_*: answers of commands, one element each: the number of their group, their key, the hash of what was asked, the answer.
-- o_row: rows of the outbox that become events of these requests; they go with what is stored. Who holds them first has them.
-- p_moves: moves of the cursors of mirrors, each with the request whose events it brought (remote_hold, remote_move).
-- status: 0 stored, 1 nothing but duplicates, 2 wrong version, 3 id with other content, 4 key with another request,
-- 5 answer of the key's first request, 6 stored in an ephemeral stream, 7 the stream validates otherwise than the request was
-- checked (actual tells how), 8 it does not match its schemas, 9 another request of its group is refused, 10 the command was
-- answered before.
-- duplicates: of a request of status 3, the events at fault.
-- relative: the event's place behind base, null where nothing is stored; positions: where a duplicate stands, as
-- -1 - relative when that is in this batch.
create or replace function log_append(
  p_streams text,
  r_stream int[], r_expected bigint[], r_count int[], r_key text, r_request_hash uuid[],
  e_known int[], e_hash uuid[], e_bytes int[], e_version int[], e_id text, e_type text, e_correlation text,
  e_partition_key text, e_attributes text, e_data text, e_binary bytea[],
  k_stream int[], k_id text, k_source text,
  -- Last and with defaults, because a process of an earlier version does not give them.
  r_validation int[] default null, r_born bigint[] default null, r_last_id text default null,
  r_group int[] default null, a_group int[] default null, a_key text default null, a_hash uuid[] default null, a_answer text default null,
  o_row bigint[] default null, o_request int[] default null, p_moves json default null,
  out status int[], out actual bigint[], out offsets bigint[], out relative int[], out positions bigint[],
  out duplicates boolean[], out base bigint, out recorded timestamptz
)
language plpgsql as $$
declare
  s_id bigint[]; s_last bigint[]; s_bytes bigint[]; s_born bigint[]; s_ephemeral boolean[]; s_validation smallint[];
  k_offset bigint[]; k_position bigint[]; k_hash uuid[];
  -- Of ids that came with the group that is being judged: one id cannot stand for two contents.
  k_group_hash uuid[];
  -- Whether the id came with this batch: then its position is still relative to base.
  k_fresh boolean[];
  keys text[] := string_to_array(r_key, E'\x1e', E'\x1f');
  expected_ids text[] := string_to_array(r_last_id, E'\x1e', E'\x1f');
  -- Only where somebody expects one.
  ids text[] := case when r_last_id is not null then string_to_array(e_id, E'\x1e') end;
  s_last_id text[];
  request_count constant int := cardinality(r_stream);
  event_count constant int := cardinality(e_bytes);
  known_count constant int := coalesce(cardinality(k_stream), 0);
  event_stream bigint[]; cumulative bigint[];
  r_first int[];
  checkpoint bigint;
  last_recorded timestamptz;
  remembered record;
  has_unborn boolean;
  has_ephemeral boolean;
  -- Null, and so is each element, as long as nothing is stored in an ephemeral stream.
  event_ephemeral boolean[];
  fresh_count int := 0;
  last_event int := 0;
  answer_keys text[] := string_to_array(a_key, E'\x1e');
  -- Groups that were answered before.
  answered int[];
  s int; k int; fresh int; verdict int; first_event int;
  -- Up to which request they have been judged, and up to which they are refused, if the last judged ones are.
  judged_to int := 0; refused_to int := 0; judged_event int; is_refused boolean;
  -- Whether there is something to judge of every request, and not of those alone that expect a version or have a key.
  is_any_judged boolean;
begin
  -- Before anything is locked or judged, or a statement that is repeated would store them again.
  if o_row is not null then perform outbox_hold(o_row); end if;
  if p_moves is not null then perform remote_hold(p_moves); end if;

  insert into streams (name)
    select u.name from unnest(string_to_array(p_streams, E'\x1e')) with ordinality u(name, n)
    where (select st.id from streams st where st.name = u.name) is null
    order by u.n
    on conflict (name) do nothing;

  select array_agg(l.id order by l.n), array_agg(l.checkpoint_offset order by l.n), array_agg(l.checkpoint_bytes order by l.n),
         array_agg(l.born_offset order by l.n), array_agg(l.ephemeral order by l.n), bool_or(l.created_at is null),
         bool_or(l.ephemeral), case when max(l.validation) > 0 then array_agg(l.validation order by l.n) end
    into s_id, s_last, s_bytes, s_born, s_ephemeral, has_unborn, has_ephemeral, s_validation
    from (
      select st.*, u.n
      from unnest(string_to_array(p_streams, E'\x1e')) with ordinality u(name, n)
        cross join lateral (select s.* from streams s where s.name = u.name for no key update) st
    ) l;
  -- A row without an event was removed in between: begin anew, and make it again.
  if cardinality(s_id) is distinct from cardinality(string_to_array(p_streams, E'\x1e')) then
    raise serialization_failure using message = 'a stream was removed meanwhile';
  end if;

  select l.checkpoint_position into checkpoint from log l;

  select array_agg(coalesce(e."offset", p.last) order by p.n), array_agg(coalesce(e.stream_bytes, p.bytes) order by p.n),
         case when r_last_id is not null then array_agg(e.id order by p.n) end
    into s_last, s_bytes, s_last_id
    from unnest(s_id, s_last, s_bytes) with ordinality p(id, last, bytes, n)
    left join lateral (
      select ev."offset", ev.stream_bytes, ev.id from events ev
      where ev.stream_id = p.id and ev.position >= checkpoint
      order by ev."offset" desc limit 1
    ) e on true;

  if known_count > 0 then
    select array_agg(i."offset" order by u.n), array_agg(i.position order by u.n), array_agg(i.content_hash order by u.n)
      into k_offset, k_position, k_hash
      from unnest(k_stream, string_to_array(k_id, E'\x1e'), string_to_array(k_source, E'\x1e'))
        with ordinality u(s, id, source, n)
      left join event_ids i
        on i.id = u.id and i.stream_id = s_id[u.s] and i.source = u.source and i."offset" >= s_born[u.s];
    k_fresh := array_fill(false, array[known_count]);
  end if;

  if a_group is not null then
    -- Whoever answers the same command on another process comes before or after this batch, in an order that is the same for all.
    perform command_answers_lock(answer_keys);
    select array_agg(u.n) into answered
      from unnest(a_group, answer_keys) u(n, key) where exists (select from command_answers c where c.key = u.key);
  end if;

  status := array_fill(0, array[request_count]);
  actual := array_fill(null::bigint, array[request_count]);
  r_first := array_fill(0, array[request_count]);
  offsets := array_fill(null::bigint, array[event_count]);
  positions := offsets;
  event_stream := offsets;
  cumulative := offsets;
  relative := array_fill(null::int, array[event_count]);
  duplicates := array_fill(false, array[event_count]);
  if has_ephemeral then event_ephemeral := duplicates; end if;
  is_any_judged := known_count > 0 or r_group is not null or s_validation is not null or r_validation is not null;

  for m in 1 .. request_count loop
    -- A request that asks for nothing but to be stored needs no judging. The others are judged at the first of their group, and
    -- assigned after: a refused request leaves no event and no visible stream.
    if m > judged_to and (is_any_judged or r_expected[m] is not null or keys[m] is not null) then
      judged_to := m;
      if r_group is not null then
        while r_group[judged_to + 1] = r_group[m] loop
          judged_to := judged_to + 1;
        end loop;
      end if;
      is_refused := false;
      if known_count > 0 then k_group_hash := null; end if;
      judged_event := last_event;

      for j in m .. judged_to loop
        s := r_stream[j];
        r_first[j] := judged_event + 1;
        judged_event := judged_event + r_count[j];
        actual[j] := s_last[s];

        if keys[j] is not null then
          select i.* into remembered from idempotency_keys i where i.key = keys[j];
          -- What a deleted life of the stream answered is forgotten with it.
          if found and remembered.offsets[1] >= s_born[s] then
            is_refused := true;
            if remembered.request_hash <> r_request_hash[j] then
              status[j] := 4;
            else
              status[j] := 5;
              offsets[r_first[j] : judged_event] := remembered.offsets;
              duplicates[r_first[j] : judged_event] := remembered.duplicates;
              positions[judged_event] := remembered.last_position;
            end if;
            continue;
          end if;
        end if;

        verdict := 0;
        fresh := r_count[j];
        if known_count > 0 then
          for n in r_first[j] .. judged_event loop
            k := e_known[n];
            continue when k is null;
            if k_offset[k] is not null then
              fresh := fresh - 1;
              if k_hash[k] <> e_hash[n] then
                verdict := 3;
                duplicates[n] := true;
              end if;
            elsif k_group_hash[k] is null then
              k_group_hash[k] := e_hash[n];
            else
              fresh := fresh - 1;
              if k_group_hash[k] <> e_hash[n] then
                verdict := 3;
                duplicates[n] := true;
              end if;
            end if;
          end loop;
        end if;
        -- What is stored already is not judged again.
        if fresh > 0 then
          if s_validation is not null or r_validation is not null then
            if least(coalesce(r_validation[j], 0), 2) <> coalesce(s_validation[s], 0) then
              is_refused := true;
              status[j] := 7;
              actual[j] := coalesce(s_validation[s], 0);
              continue;
            end if;
            if verdict = 0 and r_validation[j] = 3 then verdict := 8; end if;
          end if;
          if verdict = 0 and r_expected[j] is not null and (
               not (s_last[s] = r_expected[j] or (r_expected[j] = -2 and s_last[s] >= s_born[s]))
               or r_born[j] <> s_born[s] or coalesce(expected_ids[j] <> s_last_id[s], expected_ids[j] is not null)) then
            verdict := 2;
          end if;
        end if;
        if verdict = 0 and answered is not null and r_group[j] = any(answered) then verdict := 10; end if;
        if verdict <> 0 then
          is_refused := true;
          status[j] := verdict;
        elsif fresh = 0 then
          status[j] := 1;
        end if;
      end loop;

      if is_refused then
        refused_to := judged_to;
        for j in m .. judged_to loop
          if status[j] in (0, 1) then status[j] := 9; end if;
        end loop;
      end if;
    end if;

    first_event := last_event + 1;
    last_event := last_event + r_count[m];
    continue when m <= refused_to;

    s := r_stream[m];
    if has_ephemeral and s_ephemeral[s] and status[m] = 0 then
      status[m] := 6;
      event_ephemeral[first_event : last_event] := array_fill(true, array[r_count[m]]);
    end if;
    for n in first_event .. last_event loop
      if known_count > 0 then k := e_known[n]; end if;
      if k is not null and k_offset[k] is not null then
        offsets[n] := k_offset[k];
        duplicates[n] := true;
        positions[n] := case when k_fresh[k] then -1 - k_position[k] else k_position[k] end;
      else
        s_last[s] := s_last[s] + 1;
        s_bytes[s] := s_bytes[s] + e_bytes[n];
        offsets[n] := s_last[s];
        cumulative[n] := s_bytes[s];
        event_stream[n] := s_id[s];
        relative[n] := fresh_count;
        if k is not null then
          k_offset[k] := s_last[s];
          k_position[k] := fresh_count;
          k_hash[k] := e_hash[n];
          k_fresh[k] := true;
        end if;
        if ids is not null then s_last_id[s] := ids[n]; end if;
        fresh_count := fresh_count + 1;
      end if;
    end loop;
    actual[m] := s_last[s];
  end loop;

  if fresh_count > 0 then
    if has_unborn then
      update streams st set created_at = clock_timestamp()
        where st.created_at is null and st.id = any(event_stream);
    end if;

    perform pg_advisory_xact_lock(log_lock());

    select e.position + 1, e.recorded_at into base, last_recorded
      from events e where e.position >= checkpoint order by e.position desc limit 1;
    base := coalesce(base, checkpoint);
    recorded := greatest(date_trunc('milliseconds', clock_timestamp()), last_recorded);

    insert into events (position, stream_id, "offset", stream_bytes, recorded_at, schema_version, bytes, ephemeral, id, type,
                        correlation_id, partition_key, attributes, data, data_binary)
      select base + u.relative, u.stream, u."offset", u.cumulative, recorded, u.version, u.bytes,
             coalesce(u.ephemeral, false), u.id, u.type, u.correlation, u.partition_key, u.attributes::json, u.data::json, u.data_binary
      from unnest(
             relative, event_stream, event_ephemeral, offsets, cumulative, e_version, e_bytes,
             string_to_array(e_id, E'\x1e'), string_to_array(e_type, E'\x1e'),
             string_to_array(e_correlation, E'\x1e', E'\x1f'), string_to_array(e_partition_key, E'\x1e', E'\x1f'),
             string_to_array(e_attributes, E'\x1e'), string_to_array(e_data, E'\x1e', E'\x1f'), e_binary)
        as u(relative, stream, ephemeral, "offset", cumulative, version, bytes, id, type, correlation, partition_key,
             attributes, data, data_binary)
      where u.relative is not null;

    if known_count > 0 then
      insert into event_ids (id, stream_id, source, "offset", position, content_hash, recorded_at)
        select u.id, s_id[u.s], u.source, u."offset", base + u.position, u.hash, recorded
        from unnest(k_stream, string_to_array(k_id, E'\x1e'), string_to_array(k_source, E'\x1e'),
                    k_offset, k_position, k_hash, k_fresh)
          as u(s, id, source, "offset", position, hash, is_fresh)
        where u.is_fresh
        -- Only an id of the stream's earlier life can stand there.
        on conflict (id, stream_id, source) do update
          set "offset" = excluded."offset", position = excluded.position,
              content_hash = excluded.content_hash, recorded_at = excluded.recorded_at;
    end if;
  end if;

  if r_key is not null then
    insert into idempotency_keys (key, request_hash, offsets, duplicates, last_position, recorded_at)
      select u.key, u.hash, offsets[u.first : u.first + u.count - 1], duplicates[u.first : u.first + u.count - 1],
             (select max(case when relative[n] is not null then base + relative[n]
                              when positions[n] < 0 then base - 1 - positions[n]
                              else positions[n] end)
              from generate_series(u.first, u.first + u.count - 1) n),
             coalesce(recorded, clock_timestamp())
      from unnest(keys, r_request_hash, r_first, r_count, status) as u(key, hash, first, count, code)
      where u.key is not null and u.code in (0, 1, 6)
      order by u.key
      on conflict (key) do update
        set request_hash = excluded.request_hash, offsets = excluded.offsets, duplicates = excluded.duplicates,
            last_position = excluded.last_position, recorded_at = excluded.recorded_at;
  end if;

  if o_row is not null then
    delete from outbox o using unnest(o_row, o_request) u(row, request) where o.id = u.row and status[u.request] in (0, 1, 6);
  end if;

  if p_moves is not null then perform remote_move(p_moves, status); end if;

  if a_group is not null then
    insert into command_answers (key, request_hash, answer, offsets, recorded_at)
      select u.key, u.hash, u.answer::json, offsets[g.first : g.last], coalesce(recorded, clock_timestamp())
      from unnest(a_group, answer_keys, a_hash, string_to_array(a_answer, E'\x1e')) u(n, key, hash, answer)
        cross join lateral (
          select min(r_first[m]) as first, max(r_first[m] + r_count[m] - 1) as last, bool_and(status[m] in (0, 1, 6)) as is_stored
          from generate_series(1, request_count) m where r_group[m] = u.n
        ) g
      where g.is_stored
      order by u.key;
  end if;
end $$;
