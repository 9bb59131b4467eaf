-- Adds the next partition of one family: built aside, then attached, which never waits for readers nor stops appends
-- (CREATE … PARTITION OF does both). Returns the new upper bound.
create or replace function log_partition_add(p_ephemeral boolean, p_size bigint) returns bigint
language plpgsql as $$
declare
  parent text := case when p_ephemeral then 'events_ephemeral' else 'events_persistent' end;
  lower_bound bigint := log_partition_end(p_ephemeral);
  upper_bound bigint := lower_bound + p_size;
  leaf text := parent || '_' || lower_bound;
begin
  execute format('create table %I (like %I including defaults including storage)', leaf, parent);
  execute format('alter table %I add constraint %I primary key (position)', leaf, leaf || '_position');
  execute format('create unique index %I on %I (stream_id, "offset")', leaf || '_stream_offset', leaf);
  execute format('create index %I on %I (stream_id, position)', leaf || '_stream_position', leaf);
  execute format('create index %I on %I (type, position)', leaf || '_type', leaf);
  execute format('create index %I on %I (correlation_id, position) where correlation_id is not null', leaf || '_correlation', leaf);
  -- With the bounds proven by a constraint, ATTACH scans nothing.
  execute format('alter table %I add constraint %I check (ephemeral = %L::boolean and position >= %s and position < %s)',
    leaf, leaf || '_bounds', p_ephemeral, lower_bound, upper_bound);
  execute format('alter table %I attach partition %I for values from (%s) to (%s)', parent, leaf, lower_bound, upper_bound);
  execute format('alter table %I drop constraint %I', leaf, leaf || '_bounds');
  -- For its side effect: every plan over events is made again. Postgres overlooks an ATTACH to a partition of the table that a statement
  -- names while it plans that statement: a generic plan without the new partition would be kept, a stream's end missed, and an
  -- offset given twice.
  alter table only events alter column position set statistics -1;
  return upper_bound;
end $$;
