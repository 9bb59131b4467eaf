-- Puts the events of sagas into the outbox, in their order: e_saga is the place of each one's saga in the batch, and only those of
-- the sagas in p_sagas are put. Lists of text are joined by U+001E, an absent one is U+001F.
create or replace function saga_emit(
  p_sagas int[], e_saga int[], e_own boolean[], e_version int[], e_stream text, e_type text, e_data text, e_id text,
  e_correlation text, e_partition_key text, e_attributes text
) returns void
language sql as $$
  insert into outbox (stream, type, data, event_id, schema_version, correlation_id, partition_key, attributes, own)
    select e.stream, e.type, e.data::json, e.id, e.version, e.correlation_id, e.partition_key, e.attributes::jsonb, e.own
    from unnest(
      e_saga, e_own, e_version, string_to_array(e_stream, E'\x1e'), string_to_array(e_type, E'\x1e'),
      string_to_array(e_data, E'\x1e', E'\x1f'), string_to_array(e_id, E'\x1e', E'\x1f'),
      string_to_array(e_correlation, E'\x1e', E'\x1f'), string_to_array(e_partition_key, E'\x1e', E'\x1f'),
      string_to_array(e_attributes, E'\x1e')
    ) with ordinality e(saga, own, version, stream, type, data, id, correlation_id, partition_key, attributes, n)
    where e.saga = any(p_sagas)
    order by e.n;
$$;
