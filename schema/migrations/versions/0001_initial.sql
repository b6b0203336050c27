-- Tables as of revision 0001. Statements are separated by a line with two dashes and a semicolon.
CREATE TABLE accounts (
  account_id TEXT NOT NULL,
  trading_state TEXT DEFAULT 'ACTIVE' NOT NULL,
  trading_state_note TEXT DEFAULT '' NOT NULL,
  high_water_mark NUMERIC(38, 18),
  snapshot_version INTEGER DEFAULT '0' NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_accounts PRIMARY KEY (account_id),
  CONSTRAINT ck_accounts_trading_state CHECK (trading_state IN ('ACTIVE', 'REDUCING', 'HALTED'))
)
--;
COMMENT ON COLUMN accounts.account_id IS 'one row: main; locked by every change of exposure'
--;
COMMENT ON COLUMN accounts.high_water_mark IS 'highest equity; null before the first snapshot'
--;
CREATE TABLE alerts (
  alert_id UUID NOT NULL,
  code TEXT NOT NULL,
  scope TEXT NOT NULL,
  severity TEXT NOT NULL,
  message TEXT NOT NULL,
  raised_at TIMESTAMP WITH TIME ZONE NOT NULL,
  resolved_at TIMESTAMP WITH TIME ZONE,
  acknowledged_at TIMESTAMP WITH TIME ZONE,
  acknowledged_by TEXT DEFAULT '' NOT NULL,
  acknowledge_note TEXT DEFAULT '' NOT NULL,
  sequence BIGINT NOT NULL,
  CONSTRAINT pk_alerts PRIMARY KEY (alert_id),
  CONSTRAINT uq_alerts_sequence UNIQUE (sequence)
)
--;
CREATE UNIQUE INDEX uq_alerts_raised ON alerts (code, scope) WHERE resolved_at IS NULL
--;
COMMENT ON COLUMN alerts.sequence IS 'of the newest change'
--;
CREATE TABLE bridge_cursors (
  consumer TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_bridge_cursors PRIMARY KEY (consumer)
)
--;
COMMENT ON COLUMN bridge_cursors.sequence IS 'newest signal dealt with'
--;
CREATE TABLE candle_refusals (
  refusal_id BIGSERIAL NOT NULL,
  product_id TEXT NOT NULL,
  source TEXT NOT NULL,
  code TEXT NOT NULL,
  row_text TEXT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_candle_refusals PRIMARY KEY (refusal_id)
)
--;
COMMENT ON COLUMN candle_refusals.row_text IS 'the refused row, at most 500 characters'
--;
CREATE TABLE crypto_prices (
  product_id TEXT NOT NULL,
  granularity INTEGER NOT NULL,
  start TIMESTAMP WITH TIME ZONE NOT NULL,
  open NUMERIC(38, 18) NOT NULL,
  high NUMERIC(38, 18) NOT NULL,
  low NUMERIC(38, 18) NOT NULL,
  close NUMERIC(38, 18) NOT NULL,
  volume NUMERIC(38, 18) NOT NULL,
  source TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_crypto_prices PRIMARY KEY (product_id, granularity, start),
  CONSTRAINT ck_crypto_prices_prices CHECK (low > 0 AND low <= least(open, close) AND high >= greatest(open, close)),
  CONSTRAINT ck_crypto_prices_volume CHECK (volume >= 0),
  CONSTRAINT uq_crypto_prices_sequence UNIQUE (sequence)
)
--;
CREATE INDEX ix_crypto_prices_granularity_start ON crypto_prices (granularity, start)
--;
COMMENT ON COLUMN crypto_prices.granularity IS 'seconds'
--;
COMMENT ON COLUMN crypto_prices.start IS 'open time of the bar, UTC'
--;
COMMENT ON COLUMN crypto_prices.volume IS 'base units'
--;
COMMENT ON COLUMN crypto_prices.source IS 'exchange:VENUE or file:NAME'
--;
CREATE TABLE equity_snapshots (
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  equity NUMERIC(38, 18) NOT NULL,
  cash NUMERIC(38, 18) NOT NULL,
  exposure NUMERIC(38, 18) NOT NULL,
  heat DOUBLE PRECISION NOT NULL,
  drawdown DOUBLE PRECISION NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_equity_snapshots PRIMARY KEY (as_of)
)
--;
COMMENT ON COLUMN equity_snapshots.as_of IS 'market time'
--;
CREATE TABLE health_events (
  event_id BIGSERIAL NOT NULL,
  service TEXT NOT NULL,
  health_name TEXT NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL,
  detail TEXT DEFAULT '' NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_health_events PRIMARY KEY (event_id)
)
--;
CREATE TABLE llm_validation (
  review_id BIGSERIAL NOT NULL,
  validation_id UUID NOT NULL,
  recommendation_id UUID NOT NULL,
  product_id TEXT NOT NULL,
  reviewer TEXT NOT NULL,
  outcome TEXT NOT NULL,
  enforced TEXT,
  mode TEXT NOT NULL,
  reasons JSONB NOT NULL,
  model TEXT DEFAULT '' NOT NULL,
  model_digest TEXT DEFAULT '' NOT NULL,
  server_version TEXT DEFAULT '' NOT NULL,
  prompt_version TEXT DEFAULT '' NOT NULL,
  prompt_sha256 TEXT DEFAULT '' NOT NULL,
  request_hash TEXT NOT NULL,
  inputs JSONB NOT NULL,
  options JSONB NOT NULL,
  raw_output TEXT DEFAULT '' NOT NULL,
  latency_ms DOUBLE PRECISION NOT NULL,
  timings JSONB NOT NULL,
  error TEXT DEFAULT '' NOT NULL,
  trace_id TEXT DEFAULT '' NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_llm_validation PRIMARY KEY (review_id),
  CONSTRAINT uq_llm_validation_reviewer UNIQUE (validation_id, reviewer)
)
--;
CREATE UNIQUE INDEX ix_llm_validation_enforced ON llm_validation (recommendation_id) WHERE enforced IS NOT NULL
--;
CREATE INDEX ix_llm_validation_recommendation_id ON llm_validation (recommendation_id)
--;
CREATE INDEX ix_llm_validation_validation_id ON llm_validation (validation_id)
--;
COMMENT ON COLUMN llm_validation.validation_id IS 'one per recommendation; one row per reviewer'
--;
COMMENT ON COLUMN llm_validation.reviewer IS 'rules or ollama'
--;
COMMENT ON COLUMN llm_validation.enforced IS 'APPROVE or REJECT on the row that decided, null on the others'
--;
COMMENT ON COLUMN llm_validation.mode IS 'VETO or SHADOW'
--;
COMMENT ON COLUMN llm_validation.request_hash IS 'sha256 of the recommendation reviewed'
--;
COMMENT ON COLUMN llm_validation.raw_output IS 'at most 4,096 characters'
--;
COMMENT ON COLUMN llm_validation.timings IS 'queue, load, prompt and eval milliseconds, tokens'
--;
CREATE TABLE models (
  model_version TEXT NOT NULL,
  manifest JSONB NOT NULL,
  manifest_sha256 TEXT NOT NULL,
  first_loaded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  last_loaded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_models PRIMARY KEY (model_version)
)
--;
CREATE TABLE orders (
  order_id UUID NOT NULL,
  recommendation_id UUID NOT NULL,
  reservation_id UUID NOT NULL,
  request_hash TEXT NOT NULL,
  product_id TEXT NOT NULL,
  side TEXT NOT NULL,
  quote_size NUMERIC(38, 18),
  base_size NUMERIC(38, 18),
  body TEXT NOT NULL,
  state TEXT DEFAULT 'PENDING' NOT NULL,
  exchange_order_id TEXT,
  filled_size NUMERIC(38, 18) DEFAULT '0' NOT NULL,
  filled_value NUMERIC(38, 18) DEFAULT '0' NOT NULL,
  total_fees NUMERIC(38, 18) DEFAULT '0' NOT NULL,
  reasons JSONB DEFAULT '[]'::jsonb NOT NULL,
  venue TEXT NOT NULL,
  ticket_id TEXT NOT NULL,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  reference_price NUMERIC(38, 18) NOT NULL,
  expire_at TIMESTAMP WITH TIME ZONE NOT NULL,
  send_count INTEGER DEFAULT '0' NOT NULL,
  sent_at TIMESTAMP WITH TIME ZONE,
  sequence BIGINT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_orders PRIMARY KEY (order_id),
  CONSTRAINT ck_orders_side CHECK (side IN ('BUY', 'SELL')),
  CONSTRAINT ck_orders_size CHECK ((quote_size IS NULL) <> (base_size IS NULL)),
  CONSTRAINT ck_orders_state CHECK (state IN ('PENDING', 'UNKNOWN', 'OPEN', 'FILLED', 'CANCELLED', 'REJECTED')),
  CONSTRAINT uq_orders_recommendation_id UNIQUE (recommendation_id),
  CONSTRAINT uq_orders_reservation_id UNIQUE (reservation_id),
  CONSTRAINT uq_orders_exchange_order_id UNIQUE (exchange_order_id),
  CONSTRAINT uq_orders_sequence UNIQUE (sequence)
)
--;
CREATE INDEX ix_orders_open ON orders (product_id) WHERE state IN ('PENDING', 'UNKNOWN', 'OPEN')
--;
CREATE INDEX ix_orders_product_as_of ON orders (product_id, as_of)
--;
COMMENT ON COLUMN orders.order_id IS 'also the client_order_id on the exchange'
--;
COMMENT ON COLUMN orders.request_hash IS 'sha256 of recommendation and size'
--;
COMMENT ON COLUMN orders.quote_size IS 'BUY: quote amount sent'
--;
COMMENT ON COLUMN orders.base_size IS 'SELL: base amount sent'
--;
COMMENT ON COLUMN orders.body IS 'the exact request body; every send is this, byte for byte'
--;
COMMENT ON COLUMN orders.expire_at IS 'machine time after which an unsent entry is not sent'
--;
COMMENT ON COLUMN orders.sent_at IS 'machine time of the newest send'
--;
COMMENT ON COLUMN orders.sequence IS 'of the newest change'
--;
CREATE TABLE positions (
  product_id TEXT NOT NULL,
  base_size NUMERIC(38, 18) NOT NULL,
  cost NUMERIC(38, 18) NOT NULL,
  realized_pnl NUMERIC(38, 18) NOT NULL,
  total_fees NUMERIC(38, 18) NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_positions PRIMARY KEY (product_id),
  CONSTRAINT ck_positions_base_size CHECK (base_size >= 0)
)
--;
COMMENT ON COLUMN positions.cost IS 'quote cost of what is held, buying fees inside'
--;
CREATE TABLE products (
  product_id TEXT NOT NULL,
  base_increment NUMERIC(38, 18) NOT NULL,
  quote_increment NUMERIC(38, 18) NOT NULL,
  price_increment NUMERIC(38, 18) NOT NULL,
  base_min_size NUMERIC(38, 18) NOT NULL,
  quote_min_size NUMERIC(38, 18) NOT NULL,
  tradable BOOLEAN NOT NULL,
  status TEXT NOT NULL,
  followed BOOLEAN NOT NULL,
  observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_products PRIMARY KEY (product_id)
)
--;
CREATE TABLE reconciliations (
  reconciliation_id BIGSERIAL NOT NULL,
  clean BOOLEAN NOT NULL,
  orders_checked INTEGER NOT NULL,
  orders_settled INTEGER NOT NULL,
  orders_unknown INTEGER NOT NULL,
  balances JSONB NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_reconciliations PRIMARY KEY (reconciliation_id)
)
--;
COMMENT ON COLUMN reconciliations.clean IS 'every balance equal, no order unknown'
--;
CREATE TABLE risk_assessments (
  assessment_id UUID NOT NULL,
  recommendation_id UUID NOT NULL,
  attempt INTEGER NOT NULL,
  request_hash TEXT NOT NULL,
  product_id TEXT NOT NULL,
  side TEXT NOT NULL,
  decision TEXT NOT NULL,
  requested_size NUMERIC(38, 18) NOT NULL,
  adjusted_size NUMERIC(38, 18) NOT NULL,
  score DOUBLE PRECISION NOT NULL,
  parts JSONB NOT NULL,
  sigma_14d DOUBLE PRECISION NOT NULL,
  heat_before DOUBLE PRECISION NOT NULL,
  heat_after DOUBLE PRECISION NOT NULL,
  exposure_before NUMERIC(38, 18) NOT NULL,
  exposure_after NUMERIC(38, 18) NOT NULL,
  equity NUMERIC(38, 18) NOT NULL,
  reasons JSONB NOT NULL,
  snapshot JSONB NOT NULL,
  limits_version TEXT NOT NULL,
  ticket TEXT DEFAULT '' NOT NULL,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_risk_assessments PRIMARY KEY (assessment_id),
  CONSTRAINT uq_risk_assessments_attempt UNIQUE (recommendation_id, attempt)
)
--;
CREATE INDEX ix_risk_assessments_recommendation_id ON risk_assessments (recommendation_id)
--;
COMMENT ON COLUMN risk_assessments.request_hash IS 'sha256 of the recommendation assessed'
--;
COMMENT ON COLUMN risk_assessments.snapshot IS 'every input that influenced the decision'
--;
COMMENT ON COLUMN risk_assessments.ticket IS 'signed JWT; empty for REJECT'
--;
CREATE TABLE risk_locks (
  lock_id UUID NOT NULL,
  code TEXT NOT NULL,
  scope TEXT NOT NULL,
  from_time TIMESTAMP WITH TIME ZONE NOT NULL,
  until_time TIMESTAMP WITH TIME ZONE,
  reason JSONB NOT NULL,
  released_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_risk_locks PRIMARY KEY (lock_id)
)
--;
CREATE INDEX ix_risk_locks_live ON risk_locks (code, scope) WHERE released_at IS NULL
--;
COMMENT ON COLUMN risk_locks.scope IS 'account or product:BTC-USD'
--;
COMMENT ON COLUMN risk_locks.from_time IS 'market time'
--;
COMMENT ON COLUMN risk_locks.until_time IS 'market time; null until an operator resets it'
--;
COMMENT ON COLUMN risk_locks.released_at IS 'machine time; null while in force or run out'
--;
CREATE TABLE runs (
  run_id TEXT NOT NULL,
  venue TEXT NOT NULL,
  profile TEXT NOT NULL,
  settings JSONB NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_runs PRIMARY KEY (run_id)
)
--;
CREATE TABLE signal_outcomes (
  signal_id UUID NOT NULL,
  product_id TEXT NOT NULL,
  side TEXT NOT NULL,
  outcome TEXT NOT NULL,
  reasons JSONB NOT NULL,
  recommendation_id UUID,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_signal_outcomes PRIMARY KEY (signal_id)
)
--;
CREATE INDEX ix_signal_outcomes_product_as_of ON signal_outcomes (product_id, as_of)
--;
COMMENT ON COLUMN signal_outcomes.outcome IS 'RECOMMENDED or SKIPPED'
--;
COMMENT ON COLUMN signal_outcomes.recommendation_id IS 'null if skipped'
--;
CREATE TABLE stored_requests (
  service TEXT NOT NULL,
  request_id UUID NOT NULL,
  method TEXT NOT NULL,
  body_sha256 TEXT NOT NULL,
  response BYTEA NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_stored_requests PRIMARY KEY (service, request_id)
)
--;
CREATE TABLE stream_heads (
  stream TEXT NOT NULL,
  head BIGINT NOT NULL,
  CONSTRAINT pk_stream_heads PRIMARY KEY (stream)
)
--;
CREATE TABLE trade_recommendations (
  recommendation_id UUID NOT NULL,
  run_id TEXT NOT NULL,
  origin TEXT NOT NULL,
  signal_id UUID,
  request_id UUID,
  product_id TEXT NOT NULL,
  side TEXT NOT NULL,
  size NUMERIC(38, 18) NOT NULL,
  reference_price NUMERIC(38, 18) NOT NULL,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  expire_at TIMESTAMP WITH TIME ZONE NOT NULL,
  life_clock TEXT NOT NULL,
  profile TEXT NOT NULL,
  priority DOUBLE PRECISION NOT NULL,
  evidence JSONB,
  note TEXT DEFAULT '' NOT NULL,
  state TEXT DEFAULT 'PROPOSED' NOT NULL,
  decided_by TEXT DEFAULT 'bridge' NOT NULL,
  reasons JSONB DEFAULT '[]'::jsonb NOT NULL,
  adjusted_size NUMERIC(38, 18),
  order_id UUID,
  lease_owner TEXT,
  lease_expires_at TIMESTAMP WITH TIME ZONE,
  not_before TIMESTAMP WITH TIME ZONE,
  wait_for_market TIMESTAMP WITH TIME ZONE,
  delays INTEGER DEFAULT '0' NOT NULL,
  sequence BIGINT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_trade_recommendations PRIMARY KEY (recommendation_id),
  CONSTRAINT ck_trade_recommendations_side CHECK (side IN ('BUY', 'SELL')),
  CONSTRAINT ck_trade_recommendations_size CHECK (size > 0),
  CONSTRAINT ck_trade_recommendations_state CHECK (state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING', 'EXECUTED', 'REJECTED', 'EXPIRED', 'FAILED')),
  CONSTRAINT ck_trade_recommendations_origin CHECK ((signal_id IS NULL) <> (request_id IS NULL)),
  CONSTRAINT uq_trade_recommendations_signal_id UNIQUE (signal_id),
  CONSTRAINT uq_trade_recommendations_request_id UNIQUE (request_id),
  CONSTRAINT uq_trade_recommendations_sequence UNIQUE (sequence)
)
--;
CREATE INDEX ix_trade_recommendations_open ON trade_recommendations (side, priority) WHERE state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING')
--;
CREATE INDEX ix_trade_recommendations_product_as_of ON trade_recommendations (product_id, as_of)
--;
COMMENT ON COLUMN trade_recommendations.signal_id IS 'null on an operator''s recommendation'
--;
COMMENT ON COLUMN trade_recommendations.request_id IS 'null on a signal''s recommendation'
--;
COMMENT ON COLUMN trade_recommendations.size IS 'quote currency for BUY, base units for SELL'
--;
COMMENT ON COLUMN trade_recommendations.evidence IS 'null on an operator''s recommendation'
--;
COMMENT ON COLUMN trade_recommendations.lease_expires_at IS 'machine time'
--;
COMMENT ON COLUMN trade_recommendations.not_before IS 'machine time before which a delayed item is not tried again'
--;
COMMENT ON COLUMN trade_recommendations.wait_for_market IS 'market time that an item waits for; null if none'
--;
COMMENT ON COLUMN trade_recommendations.sequence IS 'of the newest change'
--;
CREATE TABLE trading_signals (
  signal_id UUID NOT NULL,
  run_id TEXT NOT NULL,
  product_id TEXT NOT NULL,
  granularity INTEGER NOT NULL,
  bar_start TIMESTAMP WITH TIME ZONE NOT NULL,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  side TEXT NOT NULL,
  confidence DOUBLE PRECISION NOT NULL,
  p_down DOUBLE PRECISION NOT NULL,
  p_neutral DOUBLE PRECISION NOT NULL,
  p_up DOUBLE PRECISION NOT NULL,
  edge DOUBLE PRECISION NOT NULL,
  expected_net DOUBLE PRECISION NOT NULL,
  sigma_horizon DOUBLE PRECISION NOT NULL,
  reference_price NUMERIC(38, 18) NOT NULL,
  model_version TEXT NOT NULL,
  feature_set_hash TEXT NOT NULL,
  profile TEXT NOT NULL,
  reasons JSONB NOT NULL,
  features DOUBLE PRECISION[] NOT NULL,
  sequence BIGINT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_trading_signals PRIMARY KEY (signal_id),
  CONSTRAINT uq_trading_signals_bar UNIQUE (run_id, product_id, granularity, bar_start),
  CONSTRAINT uq_trading_signals_sequence UNIQUE (sequence)
)
--;
CREATE INDEX ix_trading_signals_as_of ON trading_signals (as_of)
--;
COMMENT ON COLUMN trading_signals.granularity IS 'seconds'
--;
COMMENT ON COLUMN trading_signals.side IS 'BUY, SELL or HOLD'
--;
COMMENT ON COLUMN trading_signals.features IS '51 values in their order; empty if not ready'
--;
CREATE TABLE watermarks (
  stage TEXT NOT NULL,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  sequence BIGINT NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_watermarks PRIMARY KEY (stage)
)
--;
COMMENT ON COLUMN watermarks.stage IS 'market, signal, bridge or orchestrator; each writes its own'
--;
COMMENT ON COLUMN watermarks.as_of IS 'newest market time fully dealt with'
--;
COMMENT ON COLUMN watermarks.sequence IS 'head of the stage''s stream at that moment'
--;
CREATE TABLE fills (
  fill_id TEXT NOT NULL,
  order_id UUID NOT NULL,
  trade_id TEXT NOT NULL,
  product_id TEXT NOT NULL,
  side TEXT NOT NULL,
  price NUMERIC(38, 18) NOT NULL,
  size NUMERIC(38, 18) NOT NULL,
  commission NUMERIC(38, 18) NOT NULL,
  liquidity TEXT NOT NULL,
  realized_pnl NUMERIC(38, 18) NOT NULL,
  trade_time TIMESTAMP WITH TIME ZONE NOT NULL,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_fills PRIMARY KEY (fill_id),
  CONSTRAINT fk_fills_order_id FOREIGN KEY(order_id) REFERENCES orders (order_id)
)
--;
CREATE INDEX ix_fills_order_id ON fills (order_id)
--;
COMMENT ON COLUMN fills.fill_id IS 'the exchange''s entry id'
--;
COMMENT ON COLUMN fills.size IS 'base units'
--;
COMMENT ON COLUMN fills.commission IS 'quote currency'
--;
COMMENT ON COLUMN fills.realized_pnl IS 'SELL: proceeds less fee and average cost; BUY: 0'
--;
COMMENT ON COLUMN fills.trade_time IS 'exchange time'
--;
COMMENT ON COLUMN fills.as_of IS 'market time of the order''s decision'
--;
CREATE TABLE ledger_entries (
  entry_id BIGSERIAL NOT NULL,
  transaction_id TEXT NOT NULL,
  account TEXT NOT NULL,
  currency TEXT NOT NULL,
  amount NUMERIC(38, 18) NOT NULL,
  order_id UUID,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_ledger_entries PRIMARY KEY (entry_id),
  CONSTRAINT fk_ledger_entries_order_id FOREIGN KEY(order_id) REFERENCES orders (order_id)
)
--;
CREATE INDEX ix_ledger_entries_account_currency ON ledger_entries (account, currency)
--;
CREATE INDEX ix_ledger_entries_transaction_id ON ledger_entries (transaction_id)
--;
COMMENT ON COLUMN ledger_entries.transaction_id IS 'opening or a fill id; sums to 0 per currency'
--;
COMMENT ON COLUMN ledger_entries.account IS 'exchange, trading, fees or opening'
--;
COMMENT ON COLUMN ledger_entries.amount IS 'positive: the account received it'
--;
COMMENT ON COLUMN ledger_entries.as_of IS 'market time'
--;
CREATE TABLE recommendation_events (
  sequence BIGINT NOT NULL,
  recommendation_id UUID NOT NULL,
  from_state TEXT,
  to_state TEXT NOT NULL,
  decided_by TEXT NOT NULL,
  reasons JSONB NOT NULL,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_recommendation_events PRIMARY KEY (sequence),
  CONSTRAINT fk_recommendation_events_recommendation_id FOREIGN KEY(recommendation_id) REFERENCES trade_recommendations (recommendation_id)
)
--;
CREATE INDEX ix_recommendation_events_recommendation_id ON recommendation_events (recommendation_id)
--;
COMMENT ON COLUMN recommendation_events.from_state IS 'null on the first'
--;
COMMENT ON COLUMN recommendation_events.as_of IS 'market time'
--;
CREATE TABLE risk_reservations (
  reservation_id UUID NOT NULL,
  recommendation_id UUID NOT NULL,
  product_id TEXT NOT NULL,
  side TEXT NOT NULL,
  quote_amount NUMERIC(38, 18) NOT NULL,
  fee_amount NUMERIC(38, 18) NOT NULL,
  base_amount NUMERIC(38, 18) NOT NULL,
  heat DOUBLE PRECISION NOT NULL,
  state TEXT DEFAULT 'HELD' NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  order_id UUID,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_risk_reservations PRIMARY KEY (reservation_id),
  CONSTRAINT ck_risk_reservations_state CHECK (state IN ('HELD', 'COMMITTED', 'RELEASED', 'EXPIRED')),
  CONSTRAINT fk_risk_reservations_reservation_id FOREIGN KEY(reservation_id) REFERENCES risk_assessments (assessment_id)
)
--;
CREATE INDEX ix_risk_reservations_as_of ON risk_reservations (as_of)
--;
CREATE INDEX ix_risk_reservations_held ON risk_reservations (product_id) WHERE state = 'HELD'
--;
CREATE INDEX ix_risk_reservations_recommendation_id ON risk_reservations (recommendation_id)
--;
COMMENT ON COLUMN risk_reservations.quote_amount IS 'BUY: notional held; SELL: 0'
--;
COMMENT ON COLUMN risk_reservations.fee_amount IS 'fee held, quote currency'
--;
COMMENT ON COLUMN risk_reservations.base_amount IS 'SELL: base units held; BUY: 0'
--;
COMMENT ON COLUMN risk_reservations.expires_at IS 'machine time'
--;
COMMENT ON COLUMN risk_reservations.as_of IS 'market time, for the order rate'
--;
COMMENT ON COLUMN risk_reservations.order_id IS 'set on commit'
--;
-- SQL functions and read views. Statements are separated by a line with two dashes and a semicolon.

-- Takes `count` consecutive sequences of a stream and returns the first. The row lock is held until commit, so the
-- order of commits is the order of sequences and a watcher that reads upwards never passes a row by.
CREATE OR REPLACE FUNCTION take_sequences(stream_name text, count bigint) RETURNS bigint LANGUAGE sql AS $$
  INSERT INTO stream_heads AS s (stream, head) VALUES (stream_name, count)
  ON CONFLICT (stream) DO UPDATE SET head = s.head + count
  RETURNING head - count + 1
$$
--;
-- Moves a stage's watermark forward, never back, and wakes whoever listens.
CREATE OR REPLACE FUNCTION advance_watermark(stage_name text, new_as_of timestamptz, new_sequence bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO watermarks AS w (stage, as_of, sequence) VALUES (stage_name, new_as_of, new_sequence)
  ON CONFLICT (stage) DO UPDATE SET as_of = greatest(w.as_of, new_as_of),
    sequence = greatest(w.sequence, new_sequence), updated_at = now();
  PERFORM pg_notify('watermarks', stage_name);
END
$$
--;
-- Owned by svc_risk, called by svc_executor inside the transaction that inserts the order row. Under the account lock
-- it checks the trading state and that the reservation is HELD and unexpired, and sets it COMMITTED.
-- Returns OK, RESERVATION_LOST or TRADING_HALTED; the caller rolls back unless it is OK.
CREATE OR REPLACE FUNCTION risk_commit(reservation uuid, new_order uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  switch text;
  held risk_reservations%ROWTYPE;
BEGIN
  SELECT trading_state INTO switch FROM accounts WHERE account_id = 'main' FOR UPDATE;
  SELECT * INTO held FROM risk_reservations WHERE reservation_id = reservation FOR UPDATE;
  IF NOT FOUND OR held.state <> 'HELD' OR held.expires_at <= clock_timestamp() THEN
    RETURN 'RESERVATION_LOST';
  END IF;
  IF switch = 'HALTED' OR (switch = 'REDUCING' AND held.side = 'BUY') THEN
    RETURN 'TRADING_HALTED';
  END IF;
  UPDATE risk_reservations SET state = 'COMMITTED', order_id = new_order, updated_at = now()
  WHERE reservation_id = reservation;
  RETURN 'OK';
END
$$
--;
-- Cash by currency: what the exchange holds for us by our own ledger.
CREATE OR REPLACE VIEW account_cash AS
  SELECT currency, sum(amount) AS amount FROM ledger_entries WHERE account = 'exchange' GROUP BY currency
--;
-- Orders that may still change the ledger; UNKNOWN counts like any other.
CREATE OR REPLACE VIEW open_orders AS
  SELECT order_id, recommendation_id, reservation_id, product_id, side, state, quote_size, base_size,
         filled_size, filled_value, total_fees, as_of
  FROM orders WHERE state IN ('PENDING', 'UNKNOWN', 'OPEN')
--;
-- Newest closed candle of every product and granularity.
CREATE OR REPLACE VIEW latest_candles AS
  SELECT kind.product_id, kind.granularity, newest.start, newest.close
  FROM (SELECT p.product_id, g.granularity FROM products p CROSS JOIN (VALUES (60), (300), (900), (3600), (86400)) g (granularity)) kind
  CROSS JOIN LATERAL (
    SELECT start, close FROM crypto_prices c
    WHERE c.product_id = kind.product_id AND c.granularity = kind.granularity ORDER BY start DESC LIMIT 1) newest
--;
-- Losing exits and all exits, for cooldowns: one row per filled SELL order, with its profit or loss.
CREATE OR REPLACE VIEW closed_trades AS
  SELECT o.order_id, o.product_id, o.as_of, sum(f.realized_pnl) AS realized_pnl
  FROM orders o JOIN fills f USING (order_id) WHERE o.side = 'SELL' GROUP BY o.order_id, o.product_id, o.as_of
