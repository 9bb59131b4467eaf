-- The last connection of a member that stays connected: an older one that closes afterwards does not end the membership.
alter table consumers add column session bigint not null default 0;
