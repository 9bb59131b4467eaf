-- Gives leases up, so that others need not wait until they run out.
create or replace function lease_release(p_owner uuid, p_names text[]) returns void
language sql as $$
  update leases set until = '-infinity', owner = '00000000-0000-0000-0000-000000000000'
    where name = any(p_names) and owner = p_owner;
$$;
