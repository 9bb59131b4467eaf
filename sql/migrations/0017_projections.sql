-- Projections: where they stand, and what went wrong.

-- The tables of a projection live in schemas of their own, one for each generation; which of them answers is said here.
create table projections (
  name text collate "C" primary key,
  description text,
  paused boolean not null,
  -- The last number given to a generation; numbers are not used again.
  last_generation int not null default 0,
  -- Asked for, and not begun: from the beginning, or from the newest snapshot.
  rebuild_requested text check (rebuild_requested in ('beginning', 'snapshot')),
  snapshot_requested boolean not null default false,
  -- Why tables for it could not be made, or not take the place of the live ones; null when nothing is in the way.
  setup_error text,
  setup_error_at timestamptz,
  -- Why the last snapshot could not be taken; null when it was, and before the first.
  snapshot_error text,
  created_at timestamptz not null default clock_timestamp()
);

-- The row changes with each batch, and none of its indexes does, so that it stays within its page.
create table projection_generations (
  projection text collate "C" not null references projections on delete cascade,
  generation int not null,
  -- live: it answers. building: it catches up, to become the live one. snapshot: a copy, which stays as it is. retired: about to be dropped.
  role text not null check (role in ('live', 'building', 'snapshot', 'retired')),
  schema_name text not null,
  -- Equal for definitions whose tables can stand in for one another.
  definition uuid not null,
  version int not null,
  -- For who reads it without the module: {"form", "streams", "types", "keys", "columns"}.
  about json not null,
  -- Everything up to here is in the tables.
  position bigint not null default -1,
  events bigint not null default 0,
  -- Of the projection, copied here: what writes the tables looks at no other row.
  paused boolean not null,
  -- Of the event that fails: how often it was tried. Null: none does.
  failed_position bigint,
  attempts int not null default 0,
  -- It was tried as often as it may be.
  halted boolean not null default false,
  failures bigint not null default 0,
  last_error text,
  last_error_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  -- Since when it has its role.
  role_since timestamptz not null default clock_timestamp(),
  primary key (projection, generation)
) with (fillfactor = 50);
create unique index projection_generations_role on projection_generations (projection, role) where role in ('live', 'building');

-- Events that somebody decided to do without.
create table projection_skips (
  projection text collate "C" not null,
  generation int not null,
  position bigint not null,
  error text,
  skipped_at timestamptz not null default clock_timestamp(),
  primary key (projection, generation, position),
  foreign key (projection, generation) references projection_generations on delete cascade
);
