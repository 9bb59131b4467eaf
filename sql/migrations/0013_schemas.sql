-- The schema registry: versions of event types, how older events become newer ones, and which streams validate.

-- One row, locked by every change of the registry: processes read what is new since the revision that they know.
create table schema_registry (
  singleton boolean primary key default true check (singleton),
  revision bigint not null default 0
);
insert into schema_registry default values;

create table schema_types (
  type text collate "C" primary key,
  compatibility text not null default 'backward' check (compatibility in ('backward', 'forward', 'full')),
  -- Of the registry, when the type or one of its versions was last changed.
  revision bigint not null
);
create index schema_types_revision on schema_types (revision);

-- Numbered from 1, without gaps: only the newest can be deleted.
create table schema_versions (
  type text collate "C" not null references schema_types,
  version int not null check (version >= 1),
  -- As it was given, but for white space and numbers beyond those of JavaScript.
  schema json not null,
  -- Equal for schemas that differ in nothing but the order of their members.
  content_hash uuid not null,
  description text,
  -- How data of the version before become data of this one: a JSONata expression, or code of a module. Null: they stay as they are.
  upcast_language text check (upcast_language in ('jsonata', 'code')),
  upcast_expression text check ((upcast_language = 'jsonata') = (upcast_expression is not null)),
  -- Data of the version before are valid as they are; without this and without an upcaster there is no way to this version.
  reads_previous boolean not null,
  registered_at timestamptz not null,
  -- api, or the name of a module.
  registered_by text collate "C" not null,
  primary key (type, version)
);

-- What became of the registry, for people.
create table schema_changes (
  id bigint generated always as identity primary key,
  type text collate "C" not null,
  version int,
  change text not null check (change in ('registered', 'upcaster', 'description', 'compatibility', 'deleted')),
  -- What it is since: the compatibility, the upcaster, the description.
  detail json,
  changed_by text collate "C" not null,
  changed_at timestamptz not null
);
create index schema_changes_type on schema_changes (type, id);

-- 0 off, 1 warn, 2 enforce. A number, because each append compares it with the one that it was checked by.
alter table streams add column validation smallint not null default 0 check (validation between 0 and 2);

-- As which versions events are handed out: {"others": "stored" | "latest" | n, "versions": {type: n}}. Null: as they are stored.
alter table subscriptions add column receive_as json;
alter table live_streams add column receive_as json;
