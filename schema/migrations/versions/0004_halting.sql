-- An exit may have no reservation, and an operator's close has no recommendation either.
ALTER TABLE orders
  ALTER COLUMN recommendation_id DROP NOT NULL,
  ALTER COLUMN reservation_id DROP NOT NULL,
  ADD COLUMN note TEXT DEFAULT '' NOT NULL,
  ADD COLUMN cancel_requested_at TIMESTAMP WITH TIME ZONE,
  ADD CONSTRAINT ck_orders_entry CHECK (side = 'SELL' OR (recommendation_id IS NOT NULL AND reservation_id IS NOT NULL))
--;
COMMENT ON COLUMN orders.recommendation_id IS 'null for an operator''s close of a position'
--;
COMMENT ON COLUMN orders.reservation_id IS 'null for an exit without the risk engine''s word'
--;
COMMENT ON COLUMN orders.note IS 'an operator''s words on a close'
--;
COMMENT ON COLUMN orders.cancel_requested_at IS 'machine time from which it is not sent any more'
--;
COMMENT ON COLUMN orders.request_hash IS 'sha256 of what was asked for: the recommendation, for a BUY its size, or the close'
--;
-- Owned by svc_risk, called by svc_executor: the strictest of trading states, ACTIVE the least.
CREATE OR REPLACE FUNCTION trading_state_rank(state text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
  SELECT array_position(ARRAY['ACTIVE', 'REDUCING', 'HALTED'], state)
$$
--;
-- Sets the operator's switch under the account lock and returns what is in force then. With `only_tighten` a state that is
-- looser than the one in force changes nothing.
CREATE OR REPLACE FUNCTION set_trading_state(new_state text, new_note text, only_tighten boolean) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  current text;
BEGIN
  SELECT trading_state INTO current FROM accounts WHERE account_id = 'main' FOR UPDATE;
  IF only_tighten AND trading_state_rank(new_state) <= trading_state_rank(current) THEN
    RETURN current;
  END IF;
  UPDATE accounts SET trading_state = new_state, trading_state_note = new_note, updated_at = clock_timestamp(),
    snapshot_version = snapshot_version + 1
  WHERE account_id = 'main';
  RETURN new_state;
END
$$
--;
-- Whoever sets the switch, by whatever way, wakes the executors at the commit.
CREATE OR REPLACE FUNCTION tell_trading_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('trading_state', '');
  RETURN NULL;
END
$$
--;
CREATE TRIGGER accounts_trading_state AFTER UPDATE OF trading_state ON accounts
FOR EACH ROW EXECUTE FUNCTION tell_trading_state()
