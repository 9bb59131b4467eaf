-- Drops receipts of events that are gone from the log, where they are the first of their cursor: there they would hold the
-- floor. Looks at p_limit cursors behind p_after. Returns the last one that is done, null when there are no more, and how many
-- events went.
create or replace function receipts_sweep(p_after bigint, p_limit int, out reached bigint, out dropped int)
language plpgsql as $$
declare
  held record;
  at bigint := p_after;
  gone bigint[];
  removed bigint[];
  is_rest boolean;
begin
  dropped := 0;
  for n in 1 .. p_limit loop
    select r.cursor_id, r.positions[1] as position into held from receipts r
      where r.cursor_id > at and r.positions[1] > -1 order by r.cursor_id, r.positions[1] limit 1;
    if not found then
      reached := null;
      return;
    end if;
    at := held.cursor_id;
    reached := at;
    continue when event_is_there(held.position);
    perform from subscription_cursors c where c.id = at for no key update skip locked;
    continue when not found;
    -- Together, for each call looks at all before it; of very many some, and then the cursor comes once more.
    removed := '{}';
    is_rest := false;
    for held in
      select r.positions from receipts r where r.cursor_id = at and r.positions[1] > -1 order by r.positions[1]
    loop
      gone := array(select u.position from unnest(held.positions) u(position) where not event_is_there(u.position));
      exit when gone = '{}';
      removed := removed || gone;
      is_rest := cardinality(removed) >= 500;
      exit when is_rest;
    end loop;
    dropped := dropped + receipt_read(at, removed);
    if is_rest then
      reached := at - 1;
      return;
    end if;
  end loop;
end $$;
