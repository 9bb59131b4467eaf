-- Where cursors end: at events of terminal types, behind which nothing is handed out. An end counts while its cursor stands
-- at it: one that was reset to another place has yet to come to its end, or is beyond it.
create table cursor_ends (
  cursor_id bigint not null references subscription_cursors on delete cascade,
  position bigint not null,
  -- When it was settled, and all before it.
  completed_at timestamptz,
  primary key (cursor_id, position)
);
create index cursor_ends_open on cursor_ends (cursor_id) where completed_at is null;
