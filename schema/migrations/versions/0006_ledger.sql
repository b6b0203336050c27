CREATE TABLE ledger_opening (
  ledger_id TEXT NOT NULL,
  opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
  fills_before JSONB NOT NULL,
  fills_seen_to TIMESTAMP WITH TIME ZONE NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_ledger_opening PRIMARY KEY (ledger_id)
)
--;
COMMENT ON COLUMN ledger_opening.ledger_id IS 'main'
--;
COMMENT ON COLUMN ledger_opening.opened_at IS 'exchange time; what was traded before is no news'
--;
COMMENT ON COLUMN ledger_opening.fills_before IS 'exchange ids of fills of this very moment that it holds'
--;
COMMENT ON COLUMN ledger_opening.fills_seen_to IS 'exchange time of the newest fill that was looked at'
--;
CREATE TABLE ledger_adjustments (
  adjustment_id UUID NOT NULL,
  request_id UUID NOT NULL,
  body_sha256 TEXT NOT NULL,
  kind TEXT NOT NULL,
  currency TEXT NOT NULL,
  amount NUMERIC(38, 18) NOT NULL,
  cost NUMERIC(38, 18) NOT NULL,
  equity_change NUMERIC(38, 18) NOT NULL,
  answer JSONB NOT NULL,
  note TEXT NOT NULL,
  caller TEXT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT pk_ledger_adjustments PRIMARY KEY (adjustment_id),
  CONSTRAINT ck_ledger_adjustments_kind CHECK (kind IN ('DEPOSIT', 'WITHDRAWAL', 'REWARD', 'CONVERSION', 'TRADE', 'CORRECTION', 'ADOPTION'))
)
--;
CREATE INDEX ix_ledger_adjustments_created_at ON ledger_adjustments (created_at)
--;
CREATE INDEX ix_ledger_adjustments_request_id ON ledger_adjustments (request_id)
--;
COMMENT ON COLUMN ledger_adjustments.amount IS 'above 0: came in; an adoption changes no balance'
--;
COMMENT ON COLUMN ledger_adjustments.cost IS 'change of what positions cost, account currency'
--;
COMMENT ON COLUMN ledger_adjustments.equity_change IS 'account currency; no gain and no loss'
--;
COMMENT ON COLUMN ledger_adjustments.answer IS 'balances and position before and after, as answered'
--;
CREATE TABLE foreign_orders (
  exchange_order_id TEXT NOT NULL,
  client_order_id TEXT NOT NULL,
  product_id TEXT NOT NULL,
  side TEXT NOT NULL,
  status TEXT NOT NULL,
  resting BOOLEAN NOT NULL,
  hold NUMERIC(38, 18) NOT NULL,
  filled_size NUMERIC(38, 18) NOT NULL,
  filled_value NUMERIC(38, 18) NOT NULL,
  total_fees NUMERIC(38, 18) NOT NULL,
  created_time TIMESTAMP WITH TIME ZONE NOT NULL,
  unbooked BOOLEAN NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_foreign_orders PRIMARY KEY (exchange_order_id)
)
--;
CREATE INDEX ix_foreign_orders_live ON foreign_orders (created_time) WHERE resting OR unbooked
--;
COMMENT ON COLUMN foreign_orders.client_order_id IS 'empty if it has none'
--;
COMMENT ON COLUMN foreign_orders.status IS 'the exchange''s word'
--;
COMMENT ON COLUMN foreign_orders.resting IS 'seen among the open orders at the newest look'
--;
COMMENT ON COLUMN foreign_orders.hold IS 'BUY: quote currency; SELL: base units'
--;
COMMENT ON COLUMN foreign_orders.filled_size IS 'since the opening'
--;
COMMENT ON COLUMN foreign_orders.filled_value IS 'since the opening, without fees'
--;
COMMENT ON COLUMN foreign_orders.total_fees IS 'since the opening'
--;
COMMENT ON COLUMN foreign_orders.created_time IS 'exchange time'
--;
COMMENT ON COLUMN foreign_orders.unbooked IS 'its fills are not in the ledger yet'
--;
CREATE TABLE fee_tiers (
  fee_tier_id BIGSERIAL NOT NULL,
  maker NUMERIC(38, 18) NOT NULL,
  taker NUMERIC(38, 18) NOT NULL,
  tier TEXT NOT NULL,
  observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_fee_tiers PRIMARY KEY (fee_tier_id)
)
--;
COMMENT ON COLUMN fee_tiers.maker IS 'share of the value'
--;
COMMENT ON COLUMN fee_tiers.taker IS 'share of the value'
--;
COMMENT ON COLUMN fee_tiers.observed_at IS 'machine time it was read last'
--;
COMMENT ON COLUMN ledger_entries.transaction_id IS 'opening, fill id, adjustment:UUID; sums to 0'
--;
COMMENT ON COLUMN ledger_entries.account IS 'exchange, trading, fees, opening, unadopted or adjustments'
--;
-- Ledgers that were opened before: everything traded since then that is not the mesh's own is foreign.
INSERT INTO ledger_opening (ledger_id, opened_at, fills_before, fills_seen_to, created_at)
SELECT 'main', min(as_of), '[]', min(as_of), min(created_at) FROM ledger_entries WHERE transaction_id = 'opening'
HAVING count(*) > 0
--;
-- What the exchange charges, for those who reckon with it.
CREATE VIEW fee_in_force AS
  SELECT maker, taker, tier, observed_at FROM fee_tiers ORDER BY fee_tier_id DESC LIMIT 1
--;
ALTER TABLE equity_snapshots ADD COLUMN transferred NUMERIC(38, 18) DEFAULT 0 NOT NULL
--;
COMMENT ON COLUMN equity_snapshots.transferred IS 'brought in or out after this mark'
--;
-- Owned by svc_risk, called by svc_executor inside the transaction that books an adjustment: equity that was brought in is no
-- gain, and equity that was taken out is no loss, neither from the high-water mark nor from the day's opening.
CREATE FUNCTION risk_transfer(change numeric) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE accounts SET high_water_mark = greatest(high_water_mark + change, 0)
  WHERE account_id = 'main' AND high_water_mark IS NOT NULL;
  UPDATE accounts SET snapshot_version = snapshot_version + 1 WHERE account_id = 'main';
  -- Only the marks of the newest two days can still be a day's opening.
  UPDATE equity_snapshots SET transferred = transferred + change
  WHERE as_of >= (SELECT max(as_of) - interval '2 days' FROM equity_snapshots);
END
$$
