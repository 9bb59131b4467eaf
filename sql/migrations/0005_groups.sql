-- Consumer groups: which member owns which slot of keys, and which keys are paused.

create table group_slots (
  cursor_id bigint not null references subscription_cursors on delete cascade,
  slot int not null,
  owner text collate "C",
  -- Whose it will be when nothing of it is out any more; until then nothing more of it is handed out.
  next_owner text collate "C",
  -- When what is still out of a draining slot is taken back.
  drain_deadline timestamptz,
  -- Rises with every change of owner.
  epoch int not null default 0,
  primary key (cursor_id, slot)
) with (fillfactor = 70);

-- Keys whose events wait because one of them could not be processed.
create table paused_keys (
  cursor_id bigint not null references subscription_cursors on delete cascade,
  key bigint not null,
  -- The event that is a dead letter now.
  position bigint not null,
  since timestamptz not null default clock_timestamp(),
  primary key (cursor_id, key)
);

-- What waits for a member, in order; and what of it is due later, without a look at the rest.
create index deliveries_owner on deliveries (cursor_id, owner, (positions[1]), due) where owner >= '';
