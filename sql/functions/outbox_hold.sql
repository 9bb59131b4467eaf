-- Holds rows of the outbox until the end of the transaction, in which they become events. Fails unless all of them wait and are
-- held by nobody else: a relay that was passed over, or a statement that goes on after its connection broke, stores nothing twice.
create or replace function outbox_hold(p_ids bigint[]) returns boolean
language plpgsql as $$
declare
  held int;
begin
  select count(*) into held from (
    select 1 from outbox o where o.id = any(p_ids) and o.failure is null for update skip locked
  ) h;
  if held <> cardinality(p_ids) then
    raise exception using errcode = 'SL011', message = 'rows of the outbox are gone, or held by somebody else';
  end if;
  return true;
end $$;
