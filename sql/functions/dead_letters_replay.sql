-- Puts dead letters back under a cursor: handed out at once, as if for the first time. p_keys: the hash of each one's key,
-- which counts in a consumer group; a key that was paused for one of them goes on. Returns how many; a letter that is gone is
-- passed over.
create or replace function dead_letters_replay(p_cursor bigint, p_ids bigint[], p_keys bigint[]) returns int
language plpgsql as $$
declare
  replayed int;
  place bigint;
  given bigint[];
  is_open bigint[];
  lowest bigint;
  highest bigint;
  due_now record;
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return 0; end if;
  select n.place into place from cursor_next(p_cursor, clock_timestamp()) n;
  with taken as (
    delete from dead_letters l where l.id = any(p_ids) returning l.*
  ), kept as (
    insert into replayed_letters as r (
        position, cursor_id, stream, "offset", event_id, type, recorded_at, schema_version, correlation_id, partition_key,
        attributes, data, data_binary)
      select distinct on (t.position) t.position, p_cursor, t.stream, t."offset", t.event_id, t.type, t.recorded_at,
             t.schema_version, t.correlation_id, t.partition_key, t.attributes, t.data, t.data_binary
      from taken t order by t.position
      on conflict (position, cursor_id) do update set settled_at = null
  )
  select count(*), array_agg(t.position), array_agg(u.key) as keys into replayed, given, p_keys
    from taken t join unnest(p_ids, p_keys) u(id, key) on u.id = t.id;
  if replayed = 0 then return 0; end if;
  perform cursor_resume_keys(p_cursor);

  -- By one pass over the batches that they may stand in: each by itself would cost as many.
  select min(g.position), max(g.position) into lowest, highest from unnest(given) g(position);
  is_open := array((
      select u.position from deliveries d cross join lateral unnest(d.positions) u(position)
      where d.cursor_id = p_cursor and d.positions[1] > -1 and d.positions[1] <= highest and d.positions[cardinality(d.positions)] >= lowest
      union all
      select u.position from receipts r cross join lateral unnest(r.positions) u(position)
      where r.cursor_id = p_cursor and r.positions[1] > -1 and r.positions[1] <= highest and r.positions[cardinality(r.positions)] >= lowest
    ) intersect select g.position from unnest(given) g(position));
  -- After a reset it may be out again, or still to come by itself: then it is not handed out twice.
  select array_agg(u.position order by u.position) as positions, array_agg(u.key order by u.position) as keys into due_now
    from (select g.position, min(g.key) as key from unnest(given, p_keys) g(position, key) group by g.position) u
    where u.position <> all(is_open) and (u.position <= place or not event_is_there(u.position));
  if due_now.positions is null then return replayed; end if;
  delete from delivery_failures f where f.cursor_id = p_cursor and f.position = any(due_now.positions);
  delete from processed_events p where p.cursor_id = p_cursor and p.position = any(due_now.positions);
  perform delivery_wait(p_cursor, due_now.positions,
    case when (select s.mode from subscription_cursors c join subscriptions s on s.id = c.subscription_id where c.id = p_cursor) = 'consumer-group'
         then due_now.keys end, clock_timestamp());
  -- What was completed is open again.
  perform cursor_complete(p_cursor);
  return replayed;
end $$;
