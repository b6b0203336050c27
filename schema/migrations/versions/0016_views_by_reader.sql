-- Who reads whose table: one reader, one view, with the columns that it needs (`schema/views`). Those that were there are
-- replaced, as their names did not say who reads them.
DROP VIEW account_cash, closed_trades, contract_violations, failed_closes, failed_exits, fee_in_force, latest_candles,
  open_closes, open_exits, open_orders, order_alarms, recommendation_orders, recommendation_terms
--;
-- Nothing ever wrote it.
DROP TABLE runs
--;
CREATE VIEW bridge_positions AS
  SELECT product_id, base_size, cost
  FROM positions
--;
CREATE VIEW bridge_products AS
  SELECT product_id, base_increment
  FROM products
--;
CREATE VIEW bridge_candles AS
  SELECT product_id, granularity, start, close
  FROM crypto_prices
--;
CREATE VIEW executor_trading_state AS
  SELECT trading_state, trading_state_note
  FROM accounts WHERE account_id = 'main'
--;
CREATE VIEW executor_latest_closes AS
  SELECT kind.product_id, kind.granularity, newest.close
  FROM (
    SELECT p.product_id, g.granularity FROM products p CROSS JOIN (VALUES (60), (300), (900), (3600), (86400)) g (granularity)
  ) kind
  CROSS JOIN LATERAL (
    SELECT close FROM crypto_prices c
    WHERE c.product_id = kind.product_id AND c.granularity = kind.granularity ORDER BY start DESC LIMIT 1
  ) newest
--;
CREATE VIEW monitor_open_exits AS
  SELECT r.recommendation_id, r.product_id, r.state, r.created_at, r.delay_reason, o.order_id, o.state AS order_state
  FROM trade_recommendations r LEFT JOIN orders o USING (recommendation_id)
  WHERE r.side = 'SELL' AND r.state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING')
--;
CREATE VIEW monitor_failed_exits AS
  SELECT p.product_id, p.base_size, newest.recommendation_id, newest.state, newest.decided_by, newest.reasons
  FROM positions p
  CROSS JOIN LATERAL (
    SELECT * FROM trade_recommendations r WHERE r.product_id = p.product_id AND r.side = 'SELL'
    ORDER BY r.as_of DESC, r.created_at DESC LIMIT 1
  ) AS newest
  -- Not as NOT EXISTS: that is planned as a join, which reads all orders for very few exits.
  WHERE p.base_size > 0 AND newest.state IN ('REJECTED', 'EXPIRED', 'FAILED') AND coalesce((
    SELECT max(o.updated_at) FROM orders o WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0
  ) <= newest.updated_at, true)
--;
CREATE VIEW monitor_open_closes AS
  SELECT order_id, product_id, base_size, filled_size, state, reasons, cancel_requested_at, created_at
  FROM orders WHERE recommendation_id IS NULL AND side = 'SELL' AND state IN ('PENDING', 'UNKNOWN', 'OPEN')
--;
CREATE VIEW monitor_failed_closes AS
  SELECT p.product_id, p.base_size AS held, newest.order_id, newest.base_size, newest.filled_size, newest.state,
         newest.reasons
  FROM positions p
  CROSS JOIN LATERAL (
    SELECT * FROM orders o WHERE o.product_id = p.product_id AND o.recommendation_id IS NULL AND o.side = 'SELL'
    ORDER BY o.created_at DESC LIMIT 1
  ) AS newest
  WHERE p.base_size > 0 AND newest.state IN ('CANCELLED', 'REJECTED') AND newest.filled_size < newest.base_size
    -- Not as NOT EXISTS: that is planned as a join, which reads all orders although it is asked of very few.
    AND coalesce((
      SELECT max(o.updated_at) FROM orders o WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0
        AND o.order_id <> newest.order_id
    ) <= newest.updated_at, true)
--;
CREATE VIEW monitor_unknown_orders AS
  SELECT order_id, product_id, side, as_of
  FROM orders WHERE state = 'UNKNOWN'
--;
CREATE VIEW monitor_order_alarms AS
  SELECT order_id, product_id, 'ORDER_ADOPTED' AS code, adopted_at AS since,
         side || ', now ' || state || ', filled ' || trim_scale(filled_size) AS detail
  FROM orders WHERE adopted_at > clock_timestamp() - interval '1 day'
  UNION ALL
  SELECT order_id, product_id, 'ORDER_NOT_SETTLED', coalesce(done_at, created_at),
         side || ', filled ' || trim_scale(filled_size)
  FROM orders WHERE state = 'OPEN' AND coalesce(done_at, created_at) < clock_timestamp() - interval '5 minutes'
  UNION ALL
  SELECT order_id, product_id, 'CLIENT_ORDER_ID_TAKEN', updated_at, coalesce(reasons -> 0 ->> 'observed', '')
  FROM orders WHERE watch_until > clock_timestamp() AND reasons @> '[{"code": "CLIENT_ORDER_ID_TAKEN"}]'
--;
CREATE VIEW monitor_contract_violations AS
  SELECT reason ->> 'scope' AS scope, reason ->> 'observed' AS observed, e.created_at
  FROM (SELECT reasons, created_at FROM recommendation_events ORDER BY sequence DESC LIMIT 1000) AS e
  CROSS JOIN LATERAL jsonb_array_elements(e.reasons) AS reason
  WHERE reason ->> 'code' = 'CONTRACT_VIOLATION'
  UNION ALL
  SELECT delay_reason ->> 'scope', delay_reason ->> 'observed', clock_timestamp() FROM trade_recommendations
  WHERE state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING') AND delay_reason ->> 'code' = 'CONTRACT_VIOLATION'
--;
CREATE VIEW orchestrator_candles AS
  SELECT source, start
  FROM crypto_prices
--;
CREATE VIEW orchestrator_candle_counts AS
  SELECT source, candles
  FROM candle_counts
--;
CREATE VIEW orchestrator_signals AS
  SELECT signal_id, product_id, bar_start, as_of, side, confidence, p_down, p_neutral, p_up, edge, expected_net,
    sigma_horizon, reference_price, model_version, profile, feature_set_hash, features, reasons, created_at
  FROM trading_signals
--;
CREATE VIEW orchestrator_signal_outcomes AS
  SELECT signal_id, outcome, reasons, recommendation_id, as_of, created_at
  FROM signal_outcomes
--;
CREATE VIEW orchestrator_validations AS
  SELECT review_id, recommendation_id, reviewer, outcome, enforced, mode, reasons, model, model_digest, latency_ms,
    error, created_at
  FROM llm_validation
--;
CREATE VIEW orchestrator_assessments AS
  SELECT recommendation_id, attempt, side, decision, requested_size, adjusted_size, score, parts, sigma_14d,
    heat_before, heat_after, exposure_before, exposure_after, equity, reasons, limits_version, as_of, created_at
  FROM risk_assessments
--;
CREATE VIEW orchestrator_orders AS
  SELECT order_id, recommendation_id, product_id, side, quote_size, base_size, state, exchange_order_id, filled_size,
    filled_value, total_fees, reasons, venue, ticket_id, send_count, note, as_of, created_at, updated_at
  FROM orders
--;
CREATE VIEW orchestrator_fills AS
  SELECT fill_id, order_id, trade_id, side, price, size, commission, liquidity, realized_pnl, trade_time, as_of
  FROM fills
--;
CREATE VIEW risk_positions AS
  SELECT product_id, base_size
  FROM positions
--;
CREATE VIEW risk_open_orders AS
  SELECT product_id, side, state, quote_size, base_size, filled_size, filled_value, total_fees
  FROM orders WHERE state IN ('PENDING', 'UNKNOWN', 'OPEN')
--;
CREATE VIEW risk_entries AS
  SELECT product_id, as_of
  FROM orders WHERE side = 'BUY' AND (filled_size > 0 OR state IN ('PENDING', 'UNKNOWN', 'OPEN'))
--;
CREATE VIEW risk_closed_trades AS
  SELECT o.product_id, o.as_of, sum(f.realized_pnl) AS realized_pnl
  FROM orders o JOIN fills f USING (order_id) WHERE o.side = 'SELL' GROUP BY o.order_id, o.product_id, o.as_of
--;
CREATE VIEW risk_fills AS
  SELECT as_of, product_id, side, size
  FROM fills
--;
CREATE VIEW risk_cash AS
  SELECT currency, sum(amount) AS amount
  FROM ledger_entries WHERE account = 'exchange' GROUP BY currency
--;
CREATE VIEW risk_cash_changes AS
  SELECT as_of, currency, amount
  FROM ledger_entries WHERE account = 'exchange' AND order_id IS NOT NULL
--;
CREATE VIEW risk_newest_reconciliation AS
  SELECT clean, created_at
  FROM reconciliations ORDER BY reconciliation_id DESC LIMIT 1
--;
CREATE VIEW risk_products AS
  SELECT product_id, base_increment, quote_increment, price_increment, base_min_size, quote_min_size, tradable, status
  FROM products
--;
CREATE VIEW risk_candles AS
  SELECT product_id, granularity, start, close, volume
  FROM crypto_prices
--;
CREATE VIEW risk_approvals AS
  SELECT recommendation_id, request_hash
  FROM llm_validation WHERE enforced = 'APPROVE'
--;
CREATE VIEW recommendation_terms AS
  SELECT recommendation_id, product_id, side, size, reference_price, as_of, expire_at, life_clock, origin, profile,
    priority, evidence, note, state, cancel_requested_at
  FROM trade_recommendations
--;
CREATE VIEW fee_in_force AS
  SELECT taker
  FROM fee_tiers ORDER BY fee_tier_id DESC LIMIT 1
--;
CREATE VIEW model_candles AS
  SELECT product_id, granularity, start, open, high, low, close, volume
  FROM crypto_prices
--;
CREATE VIEW signal_candles AS
  SELECT product_id, granularity, start, open, high, low, close, volume, sequence
  FROM crypto_prices
--;
-- Owned by svc_orchestrator, called by svc_executor: a recommendation as `recommendation_terms` has it. It cannot end before
-- the caller's transaction does.
CREATE FUNCTION lock_recommendation(wanted uuid) RETURNS SETOF recommendation_terms LANGUAGE sql AS $$
  SELECT * FROM recommendation_terms WHERE recommendation_id = wanted FOR SHARE
$$
--;
-- Owned by svc_risk, called by svc_executor: held by every transaction that changes exposure, until it ends; gives the trading
-- state, which holds as long.
CREATE FUNCTION lock_account() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  state text;
BEGIN
  SELECT trading_state INTO STRICT state FROM accounts WHERE account_id = 'main' FOR UPDATE;
  RETURN state;
END
$$
--;
-- As it was, but that it takes the account lock by the risk engine's own function.
CREATE OR REPLACE FUNCTION count_send(wanted uuid, exchange_time timestamptz) RETURNS SETOF orders LANGUAGE plpgsql AS $$
DECLARE
  switch text := lock_account();
  found_order orders%ROWTYPE;
BEGIN
  SELECT * INTO found_order FROM orders WHERE order_id = wanted FOR UPDATE;
  IF NOT FOUND OR found_order.state NOT IN ('PENDING', 'UNKNOWN') OR found_order.exchange_order_id IS NOT NULL
    OR found_order.cancel_requested_at IS NOT NULL OR NOT trading_state_allows(switch, found_order.side)
    OR (found_order.side = 'BUY' AND clock_timestamp() >= found_order.expire_at)
  THEN
    RETURN;
  END IF;
  PERFORM pg_notify('orders', '');
  RETURN QUERY UPDATE orders SET send_count = send_count + 1, sent_at = clock_timestamp(),
    search_from = coalesce(search_from, exchange_time), updated_at = now(), sequence = take_sequences('orders', 1)
  WHERE order_id = wanted RETURNING orders.*;
END
$$
