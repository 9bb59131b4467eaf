-- Makes sure that the lease is still held in this epoch, until the end of the transaction: meanwhile nobody takes it over, though
-- its holder renews it.
create or replace function lease_check(p_name text, p_owner uuid, p_epoch bigint) returns void
language plpgsql as $$
begin
  perform 1 from leases l where l.name = p_name and l.owner = p_owner and l.epoch = p_epoch for key share;
  if not found then
    raise exception using errcode = 'SL010', message = format('the lease %s is held by somebody else', p_name);
  end if;
end $$;
