-- Hands out events of one cursor to those who ask: first what is due for another try, then what lies behind the cursor.
--
-- The caller has looked through the log from p_after to p_upto and names what matches there: p_candidates, ascending. Whoever
-- claimed meanwhile has moved the cursor; behind the lock only what lies beyond it is taken, so nothing is handed out
-- twice; and where the cursor lies before p_after none of the candidates is taken, so nothing is passed over.
--
-- p_wants: how many each consumer takes at most; p_leased: false where events are given away for good, without a lease.
-- p_look: also takes back what is overdue, looks for what is due for another try, and for the first steps and dates that matter, which the caller gives
-- back next time (p_first_steps, p_first_due): behind an older transaction, whatever lies before them is dead rows. first_due is
-- -infinity when more is overdue than one look takes back.
--
-- status: ok, gone (no such cursor), changed (p_revision is not the subscription's), paused, completed.
-- The events go to `claimants` (indexes of p_consumers), `counts` of them to each; leases are numbered as claimants are, from 0.
create or replace function delivery_claim(
  p_cursor bigint, p_revision bigint, p_after bigint, p_upto bigint, p_candidates bigint[],
  p_consumers text[], p_wants int[], p_timeouts_ms bigint[], p_leased boolean[], p_max_in_flight int,
  p_look boolean, p_first_steps bigint[], p_first_due timestamptz,
  out status text, out step bigint, out place bigint, out now_at timestamptz,
  out claimants int[], out counts int[], out positions bigint[], out attempts int[], out deadlines_ms bigint[],
  out first_steps bigint[], out first_due timestamptz
)
language plpgsql as $$
declare
  old_place bigint;
  is_rest boolean;
  held int[];
  wants int[];
  wanted int := 0;
  firsts int[];
  waiting record;
  retries bigint[] := '{}';
  tries int[];
  -- How many of the first events may have failed before.
  retry_count int;
  skipped int;
  fresh bigint[] := '{}';
  available int;
  fair int;
  left_over int;
  share int;
  extra int;
  at int := 0;
  keeps_receipts boolean;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if p_look and found then select e.is_rest into is_rest from delivery_expire(p_cursor, p_first_due) e; end if;
  now_at := clock_timestamp();
  select case when sub.revision <> p_revision then 'changed' when sub.completed_at is not null then 'completed'
              when sub.paused then 'paused' else 'ok' end,
         greatest(coalesce(s.step, 0) + 1, (extract(epoch from now_at) * 1000000)::bigint), coalesce(s.position, c.start_position),
         sub.mode = 'read-receipt'
    into status, step, place, keeps_receipts
    from subscription_cursors c join subscriptions sub on sub.id = c.subscription_id
    left join lateral (
      select n.step, n.position from cursor_steps n where n.cursor_id = c.id order by n.step desc limit 1
    ) s on true
    where c.id = p_cursor;
  if not found then status := 'gone'; end if;
  if status <> 'ok' then return; end if;
  old_place := place;
  -- What was read before it was handed out never is.
  if keeps_receipts then
    p_candidates := array(
      select c.position from unnest(p_candidates) c(position)
      where not exists (select from early_reads e where e.cursor_id = p_cursor and e.position = c.position)
      order by c.position);
  end if;

  select array_agg(coalesce((
      select sum(cardinality(d.positions)) from deliveries d
      where d.cursor_id = p_cursor and d.consumer = u.consumer and d.consumer > '' and d.step >= u.first_step), 0)::int order by u.n)
    into held from unnest(p_consumers, p_first_steps) with ordinality u(consumer, first_step, n);
  wants := p_wants;
  for i in 1 .. cardinality(p_consumers) loop
    -- Two connections of one consumer share its credit.
    if i > 1 and p_consumers[i] = any(p_consumers[1 : i - 1]) then
      held[i] := held[i] + (
        select sum(w.want) from unnest(p_consumers[1 : i - 1], wants[1 : i - 1]) w(consumer, want) where w.consumer = p_consumers[i]);
    end if;
    if wants[i] > p_max_in_flight - held[i] then wants[i] := greatest(0, p_max_in_flight - held[i]); end if;
    wanted := wanted + wants[i];
  end loop;

  if p_look then
    for waiting in
      select d.step, d.part, d.piece, d.positions from deliveries d
      where d.cursor_id = p_cursor and d.state = 'ready' and d.due > '-infinity' and d.due <= now_at and d.due >= p_first_due
      order by d.due
    loop
      extra := wanted - cardinality(retries);
      exit when extra <= 0;
      retries := retries || waiting.positions[1:extra];
      if cardinality(waiting.positions) > extra then
        update deliveries d set positions = waiting.positions[extra + 1 :]
          where d.step = waiting.step and d.cursor_id = p_cursor and d.part = waiting.part and d.piece = waiting.piece;
      else
        delete from deliveries d
          where d.step = waiting.step and d.cursor_id = p_cursor and d.part = waiting.part and d.piece = waiting.piece;
      end if;
    end loop;
    if retries <> '{}' then
      select array_agg(r.position order by r.position), array_agg(coalesce(f.attempts, 0) + 1 order by r.position)
        into retries, tries
        from unnest(retries) r(position)
        left join delivery_failures f on f.cursor_id = p_cursor and f.position = r.position;
    end if;
  end if;

  if place >= p_after and place < p_upto then
    select count(*) into skipped from unnest(p_candidates) c where c <= old_place;
    fresh := p_candidates[skipped + 1 : skipped + wanted - cardinality(retries)];
    -- Beyond the last candidate nothing matches up to p_upto.
    if skipped + cardinality(fresh) = cardinality(p_candidates) then place := p_upto;
    elsif fresh <> '{}' then place := fresh[cardinality(fresh)];
    end if;
  end if;

  positions := retries || fresh;
  attempts := coalesce(tries, '{}') || array_fill(1, array[cardinality(fresh)]);
  available := cardinality(positions);
  retry_count := cardinality(retries);
  -- What was put back after a reset may lie behind what comes by itself; a batch ascends.
  if retry_count > 0 and retries[retry_count] > fresh[1] then
    select array_agg(u.position order by u.position), array_agg(u.attempt order by u.position) into positions, attempts
      from unnest(positions, attempts) u(position, attempt);
    retry_count := available;
  end if;
  claimants := '{}';
  counts := '{}';
  deadlines_ms := '{}';
  if available > 0 then
    -- A lease that a crash of the database forgets is handed out anew, and its tokens are stale: no need to wait for the
    -- disk. What is given away for good must have left the ledger before it is sent.
    if not (false = any(p_leased)) then perform set_config('synchronous_commit', 'off', true); end if;
    -- Equal shares, as far as they are wanted; what is left goes to whoever wants more.
    select ceil(available::float / count(*)) into fair from unnest(wants) w where w > 0;
    select available - sum(least(w, fair)) into left_over from unnest(wants) w where w > 0;
    for i in 1 .. cardinality(wants) loop
      share := least(wants[i], fair);
      extra := greatest(0, least(wants[i] - share, left_over));
      left_over := left_over - extra;
      share := least(share + extra, available - at);
      continue when share = 0;
      claimants := claimants || i;
      counts := counts || share;
      firsts := firsts || at + 1;
      deadlines_ms := deadlines_ms || (extract(epoch from now_at) * 1000)::bigint + p_timeouts_ms[i];
      at := at + share;
    end loop;
    insert into deliveries (cursor_id, step, part, state, consumer, due, positions, retried)
      select p_cursor, delivery_claim.step, u.n - 1, 'leased', p_consumers[u.claimant],
             now_at + p_timeouts_ms[u.claimant] * interval '1 millisecond', positions[u.first : u.first + u.count - 1],
             u.first <= retry_count
      from unnest(claimants, counts, firsts) with ordinality u(claimant, count, first, n)
      where p_leased[u.claimant];
    if keeps_receipts then
      perform receipt_deliver(p_cursor, positions[u.first : u.first + u.count - 1])
        from unnest(claimants, counts, firsts) u(claimant, count, first) where not p_leased[u.claimant];
    elsif retries <> '{}' and false = any(p_leased) then
      delete from delivery_failures f using unnest(claimants, counts, firsts) u(claimant, count, first)
        where not p_leased[u.claimant] and f.cursor_id = p_cursor and f.position = any(positions[u.first : u.first + u.count - 1]);
    end if;
  end if;
  if available > 0 or place <> old_place then
    insert into cursor_steps (cursor_id, step, position) values (p_cursor, delivery_claim.step, place);
    if keeps_receipts then
      delete from early_reads e where e.cursor_id = p_cursor and e.position <= delivery_claim.place;
    end if;
  end if;
  if p_look then
    select array_agg(coalesce((select d.step from deliveries d
                               where d.cursor_id = p_cursor and d.consumer = c.name and d.consumer > '' and d.step >= p_first_steps[c.n]
                               order by d.step limit 1), delivery_claim.step) order by c.n)
      into first_steps from unnest(p_consumers) with ordinality c(name, n);
    select case when is_rest then '-infinity' else min(d.due) end into first_due from deliveries d
      where d.cursor_id = p_cursor and d.due > '-infinity' and d.due >= p_first_due;
  end if;
end $$;
