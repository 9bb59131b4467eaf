-- Rows of the ledger that are free of their cursors, and keys that are paused for several events.

-- Each lookup of a cursor cost at every claim and settlement, and a cursor that was deleted cost a look at all rows of all
-- others, for no index of these tables begins with it. Whoever writes here has locked the cursor and found it, or takes rows of
-- deliveries that go before their cursor does; and whoever deletes a cursor deletes these first.
alter table deliveries drop constraint deliveries_cursor_id_fkey;
alter table receipts drop constraint receipts_cursor_id_fkey;
alter table cursor_steps drop constraint cursor_steps_cursor_id_fkey;

-- A row for each event that is a dead letter now: the key goes on when none is left.
alter table paused_keys drop constraint paused_keys_pkey, add primary key (cursor_id, key, position);
