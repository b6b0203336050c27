-- Who turned the switch last. A start may end what a start began, and nothing that an operator said.
ALTER TABLE accounts
  ADD COLUMN trading_state_set_by text NOT NULL DEFAULT 'OPERATOR',
  ADD CONSTRAINT ck_accounts_trading_state_set_by CHECK (trading_state_set_by IN ('OPERATOR', 'START'))
--;
COMMENT ON COLUMN accounts.trading_state_set_by IS 'START: REDUCING until the account of this start is reconciled'
--;
CREATE OR REPLACE VIEW executor_trading_state AS
  SELECT trading_state, trading_state_note, trading_state_set_by FROM accounts WHERE account_id = 'main'
--;
-- An operator who says what a start has said already makes it his own, or the start would end it.
CREATE OR REPLACE FUNCTION set_trading_state(new_state text, new_note text, only_tighten boolean) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  current text;
  turned_by text;
BEGIN
  SELECT trading_state, trading_state_set_by INTO current, turned_by
  FROM accounts WHERE account_id = 'main' FOR UPDATE;
  IF only_tighten AND (
    trading_state_rank(new_state) < trading_state_rank(current) OR (new_state = current AND turned_by = 'OPERATOR')
  ) THEN
    RETURN current;
  END IF;
  UPDATE accounts SET trading_state = new_state, trading_state_note = new_note, trading_state_set_by = 'OPERATOR',
    updated_at = clock_timestamp(), snapshot_version = snapshot_version + 1
  WHERE account_id = 'main';
  RETURN new_state;
END
$$
--;
-- REDUCING in the name of a start, unless an operator has said something as strict; true if the start's word is in force.
CREATE FUNCTION begin_start(new_note text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  UPDATE accounts SET trading_state = 'REDUCING', trading_state_note = new_note, trading_state_set_by = 'START',
    updated_at = clock_timestamp(), snapshot_version = snapshot_version + 1
  WHERE account_id = 'main' AND (trading_state = 'ACTIVE' OR trading_state_set_by = 'START');
  RETURN FOUND;
END
$$
--;
-- ACTIVE again, if it was a start that said REDUCING and nobody has said anything since; true if it was.
CREATE FUNCTION end_start(new_note text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  UPDATE accounts SET trading_state = 'ACTIVE', trading_state_note = new_note, trading_state_set_by = 'OPERATOR',
    updated_at = clock_timestamp(), snapshot_version = snapshot_version + 1
  WHERE account_id = 'main' AND trading_state = 'REDUCING' AND trading_state_set_by = 'START';
  RETURN FOUND;
END
$$
--;
-- Whose ledger it is. One that was opened before this was kept is that of its orders.
ALTER TABLE ledger_opening ADD COLUMN venue text, ADD COLUMN portfolio text NOT NULL DEFAULT ''
--;
COMMENT ON COLUMN ledger_opening.venue IS 'where its orders go; null: not kept before, the next start says it'
--;
COMMENT ON COLUMN ledger_opening.portfolio IS 'with real money the exchange''s id of the portfolio; else empty'
--;
UPDATE ledger_opening SET venue = (SELECT venue FROM orders ORDER BY created_at DESC LIMIT 1)
--;
CREATE VIEW monitor_account_fills AS
  SELECT f.fill_id, f.trade_id, f.order_id, f.product_id, f.side, f.price, f.size, f.commission, f.liquidity, f.trade_time,
         f.created_at, o.created_at AS ordered_at, o.filled_value
  FROM fills f JOIN orders o USING (order_id)
--;
CREATE VIEW monitor_account_adjustments AS
SELECT ledger_adjustments.adjustment_id, ledger_adjustments.kind, ledger_adjustments.currency, ledger_adjustments.amount, ledger_adjustments.cost, ledger_adjustments.equity_change, ledger_adjustments.note, ledger_adjustments.caller, ledger_adjustments.created_at
FROM ledger_adjustments
--;
CREATE VIEW monitor_account_positions AS
SELECT positions.product_id, positions.base_size, positions.cost, positions.realized_pnl
FROM positions
--;
CREATE VIEW monitor_ledger_balances AS
SELECT ledger_balances.account, ledger_balances.currency, ledger_balances.amount
FROM ledger_balances
--;
CREATE VIEW monitor_ledger_opening AS
SELECT ledger_opening.opened_at
FROM ledger_opening
--;
CREATE VIEW monitor_newest_reconciliation AS
SELECT reconciliations.balances, reconciliations.orders_unknown, reconciliations.created_at
FROM reconciliations ORDER BY reconciliations.reconciliation_id DESC
 LIMIT 1
