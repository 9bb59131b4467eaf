-- Puts back everything that a consumer holds and whose time is not over, because it has asked for it anew: no attempt is
-- counted.
create or replace function delivery_put_back_held(p_cursor bigint, p_consumer text) returns void
language plpgsql as $$
begin
  perform from subscription_cursors c where c.id = p_cursor for no key update;
  if not found then return; end if;
  perform delivery_put_back(p_cursor, array_agg(h.step), array_agg(h.part))
    from (select distinct d.step, d.part from deliveries d
          where d.cursor_id = p_cursor and d.consumer = p_consumer and d.consumer > '' and d.state = 'leased'
            and d.due > clock_timestamp()) h
    having count(*) > 0;
end $$;
