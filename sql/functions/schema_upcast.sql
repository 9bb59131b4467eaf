-- An upcaster as the API shows it; null where there is none.
create or replace function schema_upcast(p_language text, p_expression text) returns json
language sql immutable as $$
  select case p_language
    when 'jsonata' then json_build_object('language', 'jsonata', 'expression', p_expression)
    when 'code' then json_build_object('language', 'code')
  end
$$;
