-- Remembers that events of a lease were taken back: their tokens are stale, though the events are in no lease any more.
create or replace function delivery_revoke(p_cursor bigint, p_step bigint, p_part smallint, p_positions bigint[]) returns void
language sql as $$
  insert into revoked_deliveries as r (cursor_id, step, part, positions, revoked_at)
    values (p_cursor, p_step, p_part, p_positions, clock_timestamp())
    on conflict (cursor_id, step, part) do update set positions = r.positions || excluded.positions, revoked_at = excluded.revoked_at
$$;
