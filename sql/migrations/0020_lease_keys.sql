-- Renewing a lease does not wait for those who check it; taking it over does.

-- With the epoch in a key, whatever changes the epoch locks the row against `for key share`, by which a lease is checked: also
-- a statement of an earlier version of the service. A renewal changes neither column.
create unique index leases_epoch on leases (name, epoch);
