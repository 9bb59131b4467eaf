-- Makes a consumer a member for as long as a connection lasts: as consumer_join, and names the connection.
create or replace function consumer_enter(p_subscription bigint, p_name text, out outcome text, out cursor_id bigint, out session bigint)
language plpgsql as $$
begin
  select j.outcome, j.cursor_id into outcome, cursor_id from consumer_join(p_subscription, p_name, null) j;
  if outcome not in ('joined', 'present') then return; end if;
  update consumers c set session = greatest(c.session + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
    where c.subscription_id = p_subscription and c.name = p_name
    returning c.session into session;
end $$;
