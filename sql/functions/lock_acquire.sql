-- Takes a named lock for p_ttl_ms, if nobody holds it. Else tells whose it is, until when, and how long that is.
create or replace function lock_acquire(
  p_principal text, p_key text, p_owner text, p_ttl_ms bigint,
  out acquired boolean, out token bigint, out owner text, out expires_at timestamptz, out left_ms bigint
)
language plpgsql as $$
declare
  l locks;
  now_at timestamptz := clock_timestamp();
begin
  -- Whoever finds it held has locked no row.
  select * into l from locks k where k.principal = p_principal and k.key = p_key;
  if not found or l.expires_at <= now_at then
    loop
      insert into locks (principal, key, token, acquired_at, expires_at)
        values (p_principal, p_key, 0, '-infinity', '-infinity') on conflict (principal, key) do nothing;
      select * into l from locks k where k.principal = p_principal and k.key = p_key for no key update;
      exit when found;
    end loop;
    now_at := clock_timestamp();
  end if;
  acquired := l.expires_at <= now_at;
  if acquired then
    -- Drawn behind the row's lock: drawn before it, an earlier number could come behind a later one.
    update locks k
      set token = nextval('lock_tokens'), owner = p_owner, acquired_at = now_at,
          expires_at = now_at + p_ttl_ms * interval '1 millisecond', released = false
      where k.principal = p_principal and k.key = p_key returning * into l;
  end if;
  token := l.token;
  owner := l.owner;
  expires_at := l.expires_at;
  left_ms := ceil(extract(epoch from l.expires_at - now_at) * 1000);
end $$;
