ALTER TABLE orders
  ADD COLUMN purpose text,
  ADD COLUMN order_type text NOT NULL DEFAULT 'MARKET',
  ADD COLUMN entry_order_id uuid,
  ADD COLUMN stop_price numeric(38, 18),
  ADD COLUMN target_price numeric(38, 18),
  ADD COLUMN exit_time timestamptz,
  ADD COLUMN trigger text,
  ADD COLUMN triggered_at timestamptz
--;
COMMENT ON COLUMN orders.recommendation_id IS 'null for an operator''s close of a position and for protection'
--;
COMMENT ON COLUMN orders.purpose IS 'what it is for; PROTECTION leaves what nobody decided to leave'
--;
COMMENT ON COLUMN orders.entry_order_id IS 'PROTECTION: the newest entry of its position; null for what was adopted'
--;
COMMENT ON COLUMN orders.stop_price IS 'PROTECTION: it sells at or below'
--;
COMMENT ON COLUMN orders.target_price IS 'PROTECTION: it sells at or above'
--;
COMMENT ON COLUMN orders.exit_time IS 'PROTECTION: market time from which it sells; null: no limit'
--;
COMMENT ON COLUMN orders.trigger IS 'PROTECTION: why a market order of it was sent'
--;
COMMENT ON COLUMN orders.triggered_at IS 'PROTECTION: machine time at which one that waited was to be sent'
--;
UPDATE orders SET purpose = CASE WHEN side = 'BUY' THEN 'ENTRY' WHEN recommendation_id IS NULL THEN 'CLOSE' ELSE 'EXIT' END
--;
ALTER TABLE orders
  ALTER COLUMN purpose SET NOT NULL,
  DROP CONSTRAINT ck_orders_state,
  ADD CONSTRAINT ck_orders_state
    CHECK (state IN ('WAITING', 'PENDING', 'UNKNOWN', 'OPEN', 'FILLED', 'CANCELLED', 'REJECTED')),
  ADD CONSTRAINT ck_orders_purpose CHECK (purpose IN ('ENTRY', 'EXIT', 'CLOSE', 'PROTECTION')),
  ADD CONSTRAINT ck_orders_order_type CHECK (order_type IN ('MARKET', 'BRACKET')),
  ADD CONSTRAINT ck_orders_trigger CHECK (trigger IN ('STOP', 'TARGET', 'TRAILING_STOP', 'TIME_LIMIT')),
  ADD CONSTRAINT ck_orders_protection CHECK (
    purpose <> 'PROTECTION' OR (side = 'SELL' AND recommendation_id IS NULL AND stop_price < target_price)
  )
--;
DROP INDEX ix_orders_open
--;
CREATE INDEX ix_orders_open ON orders (product_id) WHERE state IN ('WAITING', 'PENDING', 'UNKNOWN', 'OPEN')
--;
DROP INDEX ix_orders_closes
--;
CREATE INDEX ix_orders_closes ON orders (product_id, created_at) WHERE purpose = 'CLOSE'
--;
CREATE INDEX ix_orders_protection ON orders (product_id, created_at) WHERE purpose = 'PROTECTION'
--;
-- Writes intents in their order, commits their reservations, and counts the first send of those whose `send_count` is 1. An
-- entry whose reservation is not held any more is not written; an exit goes without it. The caller has the account lock, and
-- has looked at the trading state under it.
CREATE OR REPLACE FUNCTION write_intents(intents jsonb) RETURNS SETOF orders LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  intent orders%ROWTYPE;
  counted boolean;
BEGIN
  FOR intent IN SELECT * FROM jsonb_populate_recordset(NULL::orders, intents) LOOP
    IF intent.reservation_id IS NOT NULL AND risk_commit(intent.reservation_id, intent.order_id) <> 'OK' THEN
      CONTINUE WHEN intent.side = 'BUY';
      -- Risk's word came to nothing meanwhile; the ledger's word is enough to get out.
      intent.reservation_id := NULL;
      intent.ticket_id := '';
    END IF;
    counted := intent.send_count = 1 AND (intent.side = 'SELL' OR clock_timestamp() < intent.expire_at);
    PERFORM pg_notify('orders', '');
    RETURN QUERY INSERT INTO orders (
      order_id, recommendation_id, reservation_id, request_hash, product_id, side, quote_size, base_size, body, state,
      venue, ticket_id, note, as_of, reference_price, expire_at, send_count, sent_at, search_from, purpose, order_type,
      entry_order_id, stop_price, target_price, exit_time, trigger, sequence
    ) VALUES (
      intent.order_id, intent.recommendation_id, intent.reservation_id, intent.request_hash, intent.product_id,
      intent.side, intent.quote_size, intent.base_size, intent.body, intent.state, intent.venue, intent.ticket_id,
      intent.note, intent.as_of, intent.reference_price, intent.expire_at, counted::int,
      CASE WHEN counted THEN clock_timestamp() END, CASE WHEN counted THEN intent.search_from END,
      intent.purpose, intent.order_type, intent.entry_order_id, intent.stop_price, intent.target_price, intent.exit_time,
      intent.trigger, take_sequences('orders', 1)
    ) RETURNING orders.*;
  END LOOP;
END
$$
--;
DROP VIEW monitor_open_closes
--;
CREATE VIEW monitor_open_closes AS
  SELECT order_id, product_id, base_size, filled_size, state, reasons, cancel_requested_at, created_at
  FROM orders WHERE purpose = 'CLOSE' AND state IN ('PENDING', 'UNKNOWN', 'OPEN')
--;
DROP VIEW monitor_failed_closes
--;
CREATE VIEW monitor_failed_closes AS
  SELECT p.product_id, p.base_size AS held, newest.order_id, newest.base_size, newest.filled_size, newest.state,
         newest.reasons
  FROM positions p
  CROSS JOIN LATERAL (
    SELECT * FROM orders o WHERE o.product_id = p.product_id AND o.purpose = 'CLOSE'
    ORDER BY o.created_at DESC LIMIT 1
  ) AS newest
  WHERE p.base_size > 0 AND newest.state IN ('CANCELLED', 'REJECTED') AND newest.filled_size < newest.base_size
    -- Not as NOT EXISTS: that is planned as a join, which reads all orders although it is asked of very few.
    AND coalesce((
      SELECT max(o.updated_at) FROM orders o WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0
        AND o.order_id <> newest.order_id
    ) <= newest.updated_at, true)
--;
DROP VIEW monitor_order_alarms
--;
CREATE VIEW monitor_order_alarms AS
  SELECT order_id, product_id, 'ORDER_ADOPTED' AS code, adopted_at AS since,
         side || ', now ' || state || ', filled ' || trim_scale(filled_size) AS detail
  FROM orders WHERE adopted_at > clock_timestamp() - interval '1 day'
  UNION ALL
  SELECT order_id, product_id, 'ORDER_NOT_SETTLED', coalesce(done_at, created_at),
         side || ', filled ' || trim_scale(filled_size)
  FROM orders WHERE state = 'OPEN' AND coalesce(done_at, created_at) < clock_timestamp() - interval '5 minutes'
    AND (order_type <> 'BRACKET' OR done_at IS NOT NULL)
  UNION ALL
  SELECT order_id, product_id, 'CLIENT_ORDER_ID_TAKEN', updated_at, coalesce(reasons -> 0 ->> 'observed', '')
  FROM orders WHERE watch_until > clock_timestamp() AND reasons @> '[{"code": "CLIENT_ORDER_ID_TAKEN"}]'
--;
DROP VIEW risk_open_orders
--;
CREATE VIEW risk_open_orders AS
  SELECT product_id, side, state, quote_size, base_size, filled_size, filled_value, total_fees
  FROM orders WHERE state IN ('PENDING', 'UNKNOWN', 'OPEN') AND (purpose <> 'PROTECTION' OR state = 'UNKNOWN')
--;
DROP VIEW risk_closed_trades
--;
CREATE VIEW risk_closed_trades AS
  SELECT o.product_id, max(f.as_of) AS as_of, sum(f.realized_pnl) AS realized_pnl
  FROM orders o JOIN fills f USING (order_id) WHERE o.side = 'SELL' GROUP BY o.order_id, o.product_id
--;
CREATE VIEW executor_candle_highs AS
  SELECT product_id, granularity, start, high
  FROM crypto_prices
--;
CREATE VIEW monitor_unprotected_positions AS
  SELECT p.product_id, p.base_size, p.base_size - covered.size AS unprotected_size,
         greatest(p.updated_at, newest.updated_at) AS since
  FROM positions p
  JOIN products r ON r.product_id = p.product_id
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(greatest(o.base_size - o.filled_size, 0)), 0) AS size FROM orders o
    WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.state IN ('WAITING', 'PENDING', 'UNKNOWN', 'OPEN')
  ) AS covered
  LEFT JOIN LATERAL (
    SELECT o.updated_at FROM orders o WHERE o.product_id = p.product_id AND o.purpose = 'PROTECTION'
    ORDER BY o.created_at DESC LIMIT 1
  ) AS newest ON true
  WHERE p.base_size > 0 AND p.base_size - covered.size >= greatest(r.base_min_size, r.base_increment)
    AND (p.base_size - covered.size) * p.cost >= p.base_size * r.quote_min_size
--;
DROP FUNCTION orders_of_locked
--;
DROP VIEW orchestrator_orders
--;
CREATE VIEW orchestrator_orders AS
  SELECT order_id, recommendation_id, product_id, side, quote_size, base_size, state, exchange_order_id, filled_size,
    filled_value, total_fees, reasons, venue, ticket_id, send_count, note, as_of, created_at, updated_at, purpose, order_type,
    entry_order_id, stop_price, target_price, exit_time, trigger
  FROM orders
--;
CREATE FUNCTION orders_of_locked(wanted uuid[]) RETURNS SETOF orchestrator_orders LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM trade_recommendations WHERE recommendation_id = ANY (wanted) ORDER BY recommendation_id FOR UPDATE;
  RETURN QUERY SELECT * FROM orchestrator_orders WHERE recommendation_id = ANY (wanted);
END
$$
--;
ALTER TABLE trade_recommendations ADD COLUMN exit_plan jsonb
--;
COMMENT ON COLUMN trade_recommendations.exit_plan IS 'BUY: how what it buys is left; null leaves that to the executor'
--;
DROP FUNCTION intent_facts
--;
DROP FUNCTION lock_recommendation
--;
DROP VIEW recommendation_terms
--;
CREATE VIEW recommendation_terms AS
  SELECT recommendation_id, product_id, side, size, reference_price, as_of, expire_at, life_clock, origin, profile,
    priority, evidence, note, state, cancel_requested_at, exit_plan
  FROM trade_recommendations
--;
-- Owned by svc_orchestrator, called by svc_executor: a recommendation as `recommendation_terms` has it. It cannot end before
-- the caller's transaction does.
CREATE FUNCTION lock_recommendation(wanted uuid) RETURNS SETOF recommendation_terms LANGUAGE sql AS $$
  SELECT * FROM recommendation_terms WHERE recommendation_id = wanted FOR SHARE
$$
--;
-- What intents are decided by: a row for each request, in their order. The account lock comes first, so that everything is
-- read as it stands under it: nobody else changes exposure or the trading state before the caller's transaction ends.
CREATE FUNCTION intent_facts(recommendation_ids uuid[], product_ids text[], sides text[], candle_seconds int)
RETURNS TABLE (
  trading_state text, machine timestamptz, market timestamptz, known_order uuid, known_hash text, unknown uuid[],
  unanswered uuid[], held numeric, cost numeric, selling numeric, close numeric, recommendation_id uuid, product_id text,
  side text, size numeric, reference_price numeric, as_of timestamptz, expire_at timestamptz, life_clock text, origin text,
  profile text, priority double precision, evidence jsonb, note text, state text, cancel_requested_at timestamptz,
  exit_plan jsonb
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  switch text := lock_account();
BEGIN
  -- In an order of their own, so that two transactions never wait for each other.
  PERFORM (SELECT count(*) FROM lock_recommendation(sorted.wanted))
  FROM (SELECT DISTINCT unnest(recommendation_ids) AS wanted ORDER BY 1) AS sorted;
  RETURN QUERY
  SELECT switch, clock_timestamp(), (SELECT w.as_of FROM watermarks w WHERE w.stage = 'market'),
    known.order_id, known.request_hash,
    ARRAY(SELECT o.order_id FROM orders o WHERE o.product_id = asked.product_id AND o.state = 'UNKNOWN'),
    ARRAY(
      SELECT o.order_id FROM orders o
      WHERE o.product_id = asked.product_id AND o.state = 'PENDING' AND o.sent_at IS NOT NULL
    ),
    coalesce(p.base_size, 0), coalesce(p.cost, 0),
    coalesce((
      SELECT sum(greatest(o.base_size - o.filled_size, 0)) FROM orders o
      WHERE o.product_id = asked.product_id AND o.side = 'SELL' AND o.state IN ('PENDING', 'UNKNOWN', 'OPEN')
    ), 0),
    (
      SELECT c.close FROM executor_latest_closes c
      WHERE asked.side = 'SELL' AND c.product_id = asked.product_id AND c.granularity = candle_seconds
    ),
    terms.*
  FROM unnest(recommendation_ids, product_ids, sides)
    WITH ORDINALITY AS asked (recommendation_id, product_id, side, number)
  LEFT JOIN orders known ON known.recommendation_id = asked.recommendation_id
  LEFT JOIN positions p ON p.product_id = asked.product_id
  LEFT JOIN LATERAL lock_recommendation(asked.recommendation_id) AS terms ON true
  ORDER BY asked.number;
END
$$
--;
CREATE VIEW bridge_model_labels AS
  SELECT model_version, (manifest -> 'label' ->> 'barrier_width')::float8 AS barrier_width,
         (manifest -> 'label' ->> 'horizon_bars')::int AS horizon_bars
  FROM models
--;
DROP VIEW monitor_failed_exits
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
