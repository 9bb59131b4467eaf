-- A member of a group that takes nothing, so that what waits for it would stop the others, has no slots until it takes part
-- again: how many events waited in the group when that was found; null: it has its share.
alter table consumers add column set_aside bigint;
