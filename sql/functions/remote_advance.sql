-- Makes moves of mirrors that no event goes with.
create or replace function remote_advance(p_moves json) returns void
language plpgsql as $$
begin
  perform remote_hold(p_moves);
  perform remote_move(p_moves, null);
end $$;
