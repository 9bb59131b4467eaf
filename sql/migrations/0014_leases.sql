-- Leases: what one process does for all, for as long as it renews.

-- The epoch rises with each holder, for ever: what the lease protects refuses whoever comes with a lower one. Renewals change
-- no index, so they stay within the page.
create table leases (
  name text primary key,
  owner uuid not null,
  epoch bigint not null,
  until timestamptz not null
) with (fillfactor = 50);
