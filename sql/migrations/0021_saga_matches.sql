-- Sagas that wait for an event by something else than their correlation: by which attribute of it, and for which value.

alter table sagas
  add column waiting_by text collate "C" check (waiting_by in ('stream', 'subject', 'partition-key')),
  add column waiting_key text collate "C",
  add constraint sagas_waiting_match check ((waiting_by is null) = (waiting_key is null));
create index sagas_waiting_match on sagas (waiting_type, waiting_by, waiting_key) where waiting_by is not null;
