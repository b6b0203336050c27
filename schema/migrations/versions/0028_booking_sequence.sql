ALTER TABLE reconciliations ADD COLUMN booking_sequence bigint
--;
COMMENT ON COLUMN reconciliations.booking_sequence IS 'newest entry of the ledger that it compared; null: not kept before'
--;
COMMENT ON COLUMN ledger_entries.entry_id IS 'in the order of booking: given under the account lock; no time tells that order'
--;
COMMENT ON COLUMN ledger_adjustments.created_at IS
  'under the account lock; not comparable with those of fills, which are their transactions'''
--;
CREATE VIEW ledger_bookings AS
SELECT ledger_entries.transaction_id, min(ledger_entries.entry_id) AS booking_sequence
FROM ledger_entries GROUP BY ledger_entries.transaction_id
--;
-- An order's fills as `order_fills` gives them, each with its place in the order of booking at the end. Volatile, so that it sees
-- what `record_orders` books in the same statement.
CREATE FUNCTION with_booking_sequence(told jsonb) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(jsonb_agg(fill || to_jsonb(coalesce(
    (SELECT b.booking_sequence FROM ledger_bookings b WHERE b.transaction_id = fill ->> 0), 0)) ORDER BY turn), '[]')
  FROM jsonb_array_elements(told) WITH ORDINALITY AS one (fill, turn)
$$
--;
CREATE OR REPLACE VIEW monitor_newest_reconciliation AS
SELECT reconciliations.balances, reconciliations.orders_unknown, reconciliations.created_at, reconciliations.booking_sequence
FROM reconciliations ORDER BY reconciliations.reconciliation_id DESC
 LIMIT 1
