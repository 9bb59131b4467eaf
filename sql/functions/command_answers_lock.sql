-- Orders those who answer commands of the same keys until the end of their transactions. The keys share 1,024 locks, taken in one
-- order: a batch has thousands of keys, and the server has a few thousand locks for all.
create or replace function command_answers_lock(p_keys text[]) returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtext('sluice command answers ' || current_schema()), l.id)
    from (select distinct (hashtextextended(u.key, 0) & 1023)::int as id from unnest(p_keys) u(key) order by 1) l;
end $$;
