-- Names that a refused append or a deletion left without an event: the upkeep removes them.
create index streams_unborn on streams (id) where created_at is null and born_offset = 0 and not internal;
