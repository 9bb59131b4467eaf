-- Hands out events of a consumer group: each to the member that owns the slot of its key, in order within each key. Otherwise
-- as delivery_claim; p_keys are the hashes of the candidates' keys.
--
-- Candidates that cannot go to who asks now (another member's, beyond its credit, behind an earlier event of their key that
-- waits for another try) wait in the ledger for whose they are: for each member as many as its equal share of p_window allows; what
-- waits for a slot that drains does not count. p_owners, p_waiting: how many waited for each as of the last look, and p_added
-- how many have come since, for whomever. others: somebody else has something to claim now; added: how many came to wait;
-- owners, waiting: after a look. stopped_by: the member whose share was full, so that the cursor goes no further, and stopped_at the first
-- event that it could take (null: what waits for it may not be handed out yet).
create or replace function delivery_claim_group(
  p_cursor bigint, p_revision bigint, p_after bigint, p_upto bigint, p_candidates bigint[], p_keys bigint[],
  p_consumers text[], p_wants int[], p_timeouts_ms bigint[], p_leased boolean[], p_max_in_flight int,
  p_window int, p_owners text[], p_waiting int[], p_added int,
  p_look boolean, p_first_steps bigint[], p_first_due timestamptz,
  out status text, out step bigint, out place bigint, out now_at timestamptz,
  out claimants int[], out counts int[], out positions bigint[], out attempts int[], out deadlines_ms bigint[],
  out first_steps bigint[], out first_due timestamptz, out others boolean,
  out added int, out owners text[], out waiting int[], out stopped_by text, out stopped_at bigint
)
language plpgsql as $$
declare
  old_place bigint;
  is_rest boolean;
  -- How many slots have moved.
  drained int;
  slot_count int;
  wants int[];
  -- By slot: who asks for what is in it, 0 where nobody does. Found by index, not by a join, for which every event would
  -- be compared with every slot.
  askers int[];
  -- And which member's it is, 0 where it drains or is nobody's.
  member_of int[];
  members text[];
  -- How many may still come to wait for each member; null: for each as many as there are candidates.
  rooms int[];
  -- What has waited and is taken now.
  waiters int[];
  waiter int;
  ready record;
  old record;
  blocked bigint[];
  blocked_from bigint[];
  paused bigint[];
  skipped int;
  last_n int;
  fresh record;
  any_failed boolean;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if p_look and found then select e.is_rest into is_rest from delivery_expire(p_cursor, p_first_due) e; end if;
  now_at := clock_timestamp();
  select case when sub.revision <> p_revision then 'changed' when sub.completed_at is not null then 'completed'
              when sub.paused then 'paused' else 'ok' end, sub.slots
    into status, slot_count
    from subscription_cursors c join subscriptions sub on sub.id = c.subscription_id where c.id = p_cursor;
  if not found then status := 'gone'; end if;
  if status <> 'ok' then return; end if;
  drained := (select count(*) from group_slots g where g.cursor_id = p_cursor and g.next_owner is not null);
  if drained > 0 then
    is_rest := group_hand_over(p_cursor, slot_count) or is_rest;
    drained := drained - (select count(*) from group_slots g where g.cursor_id = p_cursor and g.next_owner is not null);
    -- What has waited for these slots, or was taken back, is due now.
    now_at := clock_timestamp();
  end if;
  select n.step, n.place into step, place from cursor_next(p_cursor, now_at) n;
  old_place := place;
  others := drained > 0;
  added := 0;

  -- The claims of one member count as one: the first of them gets what there is.
  select array_agg(case when u.n = u.first then greatest(0, least(u.want, p_max_in_flight - u.held)) else 0 end::int order by u.n)
    into wants
    from (
      select w.n, min(w.n) over (partition by w.consumer) as first, p_wants[w.n] as want,
             coalesce((select sum(cardinality(d.positions)) from deliveries d
                       where d.cursor_id = p_cursor and d.consumer = w.consumer and d.consumer > '' and d.step >= w.first_step), 0) as held
      from unnest(p_consumers, p_first_steps) with ordinality w(consumer, first_step, n)
    ) u;
  select array_agg(coalesce(o.n, 0) order by g.slot), array_agg(case when g.owner is null then 0 else g.member end order by g.slot),
         array_agg(distinct g.owner order by g.owner) filter (where g.owner is not null)
    into askers, member_of, members
    from (
      select s.slot, g.owner, dense_rank() over (order by g.owner)::int as member
      from generate_series(0, slot_count - 1) s(slot)
      left join group_slots g on g.cursor_id = p_cursor and g.slot = s.slot and g.next_owner is null
    ) g
    left join lateral (
      select min(w.n)::int as n from unnest(p_consumers, wants) with ordinality w(consumer, want, n)
      where w.consumer = g.owner and w.want > 0
    ) o on true;
  paused := array(select distinct k.key from paused_keys k where k.cursor_id = p_cursor order by k.key);

  -- What waits for them, oldest first. Behind an event that is not due yet its key has to wait.
  waiters := array(
    select w.n::int from unnest(p_consumers, wants) with ordinality w(consumer, want, n)
    where w.want > 0 and exists (select from deliveries d where d.cursor_id = p_cursor and d.owner = w.consumer and d.owner >= ''));
  select '{}'::int[] as claimants, '{}'::bigint[] as positions, '{}'::bigint[] as keys,
         '{}'::bigint[] as steps, '{}'::smallint[] as parts, '{}'::smallint[] as pieces into old;
  if waiters <> '{}' then
    select array_agg(l.key order by l.key), array_agg(l.position order by l.key) into blocked, blocked_from
      from (
        select u.key, min(u.position) as position
        from unnest(waiters) w(n)
          join deliveries d on d.cursor_id = p_cursor and d.owner = p_consumers[w.n] and d.owner >= '' and d.due > now_at
          cross join lateral unnest(d.keys, d.positions) u(key, position)
        group by u.key
      ) l;
    foreach waiter in array waiters loop
      select * into ready
        from group_ready(p_cursor, p_consumers[waiter], askers, waiter, now_at, blocked, blocked_from, wants[waiter]) r;
      continue when ready.positions is null;
      old.claimants := old.claimants || array_fill(waiter, array[cardinality(ready.positions)]);
      old.positions := old.positions || ready.positions;
      old.keys := old.keys || ready.keys;
      old.steps := old.steps || ready.steps;
      old.parts := old.parts || ready.parts;
      old.pieces := old.pieces || ready.pieces;
    end loop;
  end if;
  blocked := coalesce(blocked, '{}');
  if old.positions <> '{}' then
    with taken as materialized (
      select p_cursor as cursor_id, u.step, u.part, u.piece, array_agg(u.position) as positions, count(*)::int as count
      from unnest(old.steps, old.parts, old.pieces, old.positions) u(step, part, piece, position) group by 2, 3, 4
    ), emptied as (
      delete from deliveries d using taken t
        where d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece and cardinality(d.positions) = t.count
    )
    update deliveries d set (positions, keys) = (
        -- Mostly the first ones are taken.
        select d.positions[t.count + 1 :], d.keys[t.count + 1 :] where d.positions[: t.count] = t.positions
        union all
        select array_agg(u.position order by u.n), array_agg(u.key order by u.n)
          from unnest(d.positions, d.keys) with ordinality u(position, key, n)
          where u.position <> all(t.positions) and d.positions[: t.count] <> t.positions
          having count(*) > 0
      )
      from taken t
      where d.step = t.step and d.cursor_id = t.cursor_id and d.part = t.part and d.piece = t.piece and cardinality(d.positions) > t.count;
    select array_agg(w.want - coalesce(t.count, 0)::int order by w.n) into wants
      from unnest(wants) with ordinality w(want, n)
      left join (select c.claimant, count(*) as count from unnest(old.claimants) c(claimant) group by 1) t on t.claimant = w.n;
  end if;

  if p_look then
    select array_agg(o.owner), array_agg(o.count) into owners, waiting
      from (
        select d.owner, sum(cardinality(d.positions))::int as count from deliveries d
        where d.cursor_id = p_cursor and d.owner > '' group by d.owner
      ) o;
    owners := coalesce(owners, '{}');
    waiting := coalesce(waiting, '{}');
    p_owners := owners;
    p_waiting := waiting;
    p_added := 0;
  end if;
  -- Mostly all of the candidates may wait for anybody.
  if p_window / coalesce(cardinality(members), 1) - coalesce((select max(w.count) from unnest(p_waiting) w(count)), 0) - p_added
     < cardinality(p_candidates) then
    select array_agg(p_window / cardinality(members) - coalesce(w.count, 0) - p_added order by m.n) into rooms
      from unnest(members) with ordinality m(name, n) left join unnest(p_owners, p_waiting) w(owner, count) on w.owner = m.name;
  end if;

  select null::int as n, null::int as stopped_by, null::int[] as claimants, null::bigint[] as positions, null::bigint[] as keys,
         null::bigint[] as waits, null::bigint[] as waits_keys into fresh;
  if place >= p_after and place < p_upto and 0 < any(wants) then
    select count(*) into skipped from unnest(p_candidates) c where c <= old_place;
    with candidates as (
      select u.position, u.key, u.n, member_of[u.key % slot_count + 1] as member,
             case when blocked[width_bucket(u.key, blocked)] is distinct from u.key and paused[width_bucket(u.key, paused)] is distinct from u.key
                  then nullif(askers[u.key % slot_count + 1], 0) end as claimant
      from unnest(p_candidates[skipped + 1 :], p_keys[skipped + 1 :]) with ordinality u(position, key, n)
    ), ranked as (
      select c.*, c.claimant is not null and row_number() over (partition by c.claimant order by c.n) <= wants[c.claimant] as given
      from candidates c
    ), bounded as (
      -- Of paused keys any number is parked: they do not fill the room of others.
      select r.*, not r.given and paused[width_bucket(r.key, paused)] is distinct from r.key
               and count(*) filter (where not r.given and paused[width_bucket(r.key, paused)] is distinct from r.key) over (partition by r.member order by r.n) > rooms[r.member] as stops
      from ranked r order by r.n
    ), filled as (
      select r.claimant, count(*) as count, max(r.n) as last from ranked r where r.given group by r.claimant
    ), ends as (
      -- Nobody who asks needs more than this, or nobody is left out.
      select case when bool_and(coalesce(f.count, 0) >= w.want) then max(f.last) else coalesce((select max(b.n) from bounded b), 0) end as n
      from unnest(wants) with ordinality w(want, n) left join filled f on f.claimant = w.n where w.want > 0
    ), stop as (
      select b.n, b.member from bounded b, ends e where b.stops and b.n <= e.n order by b.n limit 1
    ), reached as (
      select coalesce((select s.n - 1 from stop s), e.n) as n from ends e
    )
    select (select n from reached) as n, (select s.member from stop s) as stopped_by,
           array_agg(b.claimant) filter (where b.given) as claimants,
           array_agg(b.position) filter (where b.given) as positions,
           array_agg(b.key) filter (where b.given) as keys,
           array_agg(b.position) filter (where not b.given) as waits,
           array_agg(b.key) filter (where not b.given) as waits_keys
      into fresh from bounded b where b.n <= (select n from reached);
    last_n := coalesce(fresh.n, 0);
    if skipped + last_n >= cardinality(p_candidates) then place := p_upto;
    elsif last_n > 0 then place := p_candidates[skipped + last_n];
    end if;
  end if;

  claimants := '{}';
  counts := '{}';
  positions := '{}';
  attempts := '{}';
  deadlines_ms := '{}';
  if old.positions <> '{}' or fresh.positions is not null then
    if not (false = any(p_leased)) then perform set_config('synchronous_commit', 'off', true); end if;
    any_failed := exists (select from delivery_failures f where f.cursor_id = p_cursor);
    -- What is aggregated comes from sorted subqueries: a sort for every array took as long as all the rest.
    with taken as (
      select u.claimant, u.position, u.key, true as waited from unnest(old.claimants, old.positions, old.keys) u(claimant, position, key)
      union all
      select u.claimant, u.position, u.key, false from unnest(fresh.claimants, fresh.positions, fresh.keys) u(claimant, position, key)
    ), counted as (
      select t.*, case when t.waited and any_failed
                       then coalesce((select f.attempts from delivery_failures f where f.cursor_id = p_cursor and f.position = t.position), 0)
                       else 0 end + 1 as attempt
      from taken t order by t.claimant, t.position
    ), portions as (
      select c.claimant, row_number() over (order by c.claimant) as n, count(*)::int as count, max(c.attempt) > 1 as retried,
             array_agg(c.position) as positions, array_agg(c.key) as keys
      from counted c group by c.claimant
    ), leases as (
      insert into deliveries (cursor_id, step, part, state, consumer, due, positions, keys, retried)
        select p_cursor, delivery_claim_group.step, p.n - 1, 'leased', p_consumers[p.claimant],
               now_at + p_timeouts_ms[p.claimant] * interval '1 millisecond', p.positions, p.keys, p.retried
        from portions p where p_leased[p.claimant]
    ), forgotten as (
      delete from delivery_failures f using portions p
        where p.retried and not p_leased[p.claimant] and f.cursor_id = p_cursor and f.position = any(p.positions)
    )
    select array_agg(p.claimant order by p.n), array_agg(p.count order by p.n),
           array_agg((extract(epoch from now_at) * 1000)::bigint + p_timeouts_ms[p.claimant] order by p.n),
           (select array_agg(c.position) from counted c), (select array_agg(c.attempt) from counted c)
      into claimants, counts, deadlines_ms, positions, attempts from portions p;
  end if;
  if cardinality(positions) > 0 or place <> old_place then
    insert into cursor_steps (cursor_id, step, position) values (p_cursor, delivery_claim_group.step, place);
  end if;
  if fresh.waits is not null then
    perform delivery_wait(p_cursor, fresh.waits, fresh.waits_keys, now_at);
    others := true;
    added := cardinality(fresh.waits);
  end if;
  if fresh.stopped_by is not null then
    stopped_by := members[fresh.stopped_by];
    select coalesce(array_agg(l.key order by l.key), '{}'), array_agg(l.position order by l.key) into blocked, blocked_from
      from (
        select u.key, min(u.position) as position
        from deliveries d cross join lateral unnest(d.keys, d.positions) u(key, position)
        where d.cursor_id = p_cursor and d.owner = stopped_by and d.owner >= '' and d.due > now_at
        group by u.key
      ) l;
    select r.positions[1] into stopped_at
      from group_ready(p_cursor, stopped_by, member_of, fresh.stopped_by, now_at, blocked, blocked_from, 1) r;
  end if;
  if p_look then
    select array_agg(coalesce((select d.step from deliveries d
                               where d.cursor_id = p_cursor and d.consumer = c.name and d.consumer > '' and d.step >= p_first_steps[c.n]
                               order by d.step limit 1), delivery_claim_group.step) order by c.n)
      into first_steps from unnest(p_consumers) with ordinality c(name, n);
    select case when is_rest then '-infinity' else min(d.due) end into first_due from deliveries d
      where d.cursor_id = p_cursor and d.due > '-infinity' and d.due >= p_first_due and d.due < 'infinity'
        and (d.state = 'leased' or d.due > now_at);
  end if;
end $$;
