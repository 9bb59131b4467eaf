-- Holds what the moves of mirrors start from until the end of the transaction. Fails unless each cursor is at the revision that its
-- move names, and the messages that are tried again are there and held by nobody else: a process that was passed over, or a
-- statement that goes on after its connection broke, stores nothing twice and nothing out of order.
create or replace function remote_hold(p_moves json) returns void
language plpgsql as $$
declare
  held int;
  letters bigint[];
begin
  select count(*) into held from (
    select 1
    from json_to_recordset(p_moves) m(remote bigint, revision bigint) join remote_streams r on r.id = m.remote
    where m.revision is null or m.revision = r.revision
    order by r.id
    for no key update of r
  ) h;
  if held = json_array_length(p_moves) then
    select array_agg(l.id) into letters
      from json_to_recordset(p_moves) m(settled bigint[]) cross join lateral unnest(m.settled) l(id);
    if letters is null then return; end if;
    select count(*) into held from (
      select 1 from remote_dead_letters l where l.id = any(letters) and l.due_at is not null order by l.id for update skip locked
    ) h;
    if held = cardinality(letters) then return; end if;
  end if;
  raise exception using errcode = 'SL013', message = 'the mirror was moved by somebody else';
end $$;
