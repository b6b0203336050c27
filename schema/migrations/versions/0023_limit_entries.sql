ALTER TABLE orders
  ADD COLUMN limit_price numeric(38, 18),
  ADD COLUMN end_time timestamptz,
  ADD COLUMN cancel_reason text,
  DROP CONSTRAINT ck_orders_size,
  ADD CONSTRAINT ck_orders_size CHECK (
    (quote_size IS NULL) = (side = 'SELL') AND (base_size IS NULL) = (side = 'BUY' AND limit_price IS NULL)
  ),
  DROP CONSTRAINT ck_orders_order_type,
  ADD CONSTRAINT ck_orders_order_type CHECK (order_type IN ('MARKET', 'BRACKET', 'LIMIT', 'POST_ONLY')),
  ADD CONSTRAINT ck_orders_limit CHECK (
    (order_type IN ('LIMIT', 'POST_ONLY')) = (limit_price IS NOT NULL) AND (limit_price IS NULL) = (end_time IS NULL)
    AND (limit_price IS NULL OR side = 'BUY')
  )
--;
COMMENT ON COLUMN orders.quote_size IS 'BUY: quote amount that it may spend, fee inside'
--;
COMMENT ON COLUMN orders.base_size IS 'base amount sent; null for a market order that buys'
--;
COMMENT ON COLUMN orders.limit_price IS 'LIMIT, POST_ONLY: it buys at or below'
--;
COMMENT ON COLUMN orders.end_time IS 'LIMIT, POST_ONLY: time of the exchange at which the exchange ends it'
--;
COMMENT ON COLUMN orders.cancel_reason IS 'why its end was asked for, a reason code; null where it was not'
--;
UPDATE orders SET cancel_reason = CASE WHEN purpose = 'PROTECTION' THEN 'PROTECTION_CHANGED' ELSE 'CANCELLED_BY_OPERATOR' END
WHERE cancel_requested_at IS NOT NULL
--;
CREATE INDEX ix_orders_entries_resting ON orders (product_id)
  WHERE limit_price IS NOT NULL AND state IN ('PENDING', 'UNKNOWN', 'OPEN')
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
      entry_order_id, stop_price, target_price, exit_time, trigger, limit_price, end_time, sequence
    ) VALUES (
      intent.order_id, intent.recommendation_id, intent.reservation_id, intent.request_hash, intent.product_id,
      intent.side, intent.quote_size, intent.base_size, intent.body, intent.state, intent.venue, intent.ticket_id,
      intent.note, intent.as_of, intent.reference_price, intent.expire_at, counted::int,
      CASE WHEN counted THEN clock_timestamp() END, CASE WHEN counted THEN intent.search_from END,
      intent.purpose, intent.order_type, intent.entry_order_id, intent.stop_price, intent.target_price, intent.exit_time,
      intent.trigger, intent.limit_price, intent.end_time, take_sequences('orders', 1)
    ) RETURNING orders.*;
  END LOOP;
END
$$
--;
-- The newest losing exit of a product was found by adding up all exits that there have ever been.
CREATE INDEX ix_fills_sells ON fills (product_id, as_of) WHERE side = 'SELL'
--;
DROP VIEW risk_closed_trades
--;
CREATE VIEW risk_losing_exits AS
  SELECT f.product_id, f.as_of
  FROM fills f
  WHERE f.side = 'SELL' AND (SELECT sum(g.realized_pnl) FROM fills g WHERE g.order_id = f.order_id) < 0
--;
CREATE OR REPLACE VIEW monitor_failed_closes AS
  SELECT p.product_id, p.base_size AS held, newest.order_id, newest.base_size, newest.filled_size, newest.state,
         newest.reasons
  FROM positions p
  CROSS JOIN LATERAL (
    SELECT o.order_id, o.base_size, o.filled_size, o.state, o.reasons, o.updated_at
    FROM orders o WHERE o.product_id = p.product_id AND o.purpose = 'CLOSE'
    ORDER BY o.created_at DESC LIMIT 1
  ) AS newest
  WHERE p.base_size > 0 AND newest.state IN ('CANCELLED', 'REJECTED') AND newest.filled_size < newest.base_size
    -- Not as NOT EXISTS: that is planned as a join, which reads all orders although it is asked of very few.
    AND coalesce((
      SELECT max(o.updated_at) FROM orders o WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0
        AND o.order_id <> newest.order_id
    ) <= newest.updated_at, true)
--;
CREATE OR REPLACE VIEW monitor_order_alarms AS
  SELECT order_id, product_id, 'ORDER_ADOPTED' AS code, adopted_at AS since,
         side || ', now ' || state || ', filled ' || trim_scale(filled_size) AS detail
  FROM orders WHERE adopted_at > clock_timestamp() - interval '1 day'
  UNION ALL
  SELECT order_id, product_id, 'ORDER_NOT_SETTLED', coalesce(done_at, created_at),
         side || ', filled ' || trim_scale(filled_size)
  FROM orders WHERE state = 'OPEN' AND coalesce(done_at, created_at) < clock_timestamp() - interval '5 minutes'
    AND (order_type = 'MARKET' OR done_at IS NOT NULL OR (
      order_type <> 'BRACKET' AND expire_at < clock_timestamp() - interval '5 minutes'
    ))
  UNION ALL
  SELECT order_id, product_id, 'CLIENT_ORDER_ID_TAKEN', updated_at, coalesce(reasons -> 0 ->> 'observed', '')
  FROM orders WHERE watch_until > clock_timestamp() AND reasons @> '[{"code": "CLIENT_ORDER_ID_TAKEN"}]'
--;
CREATE OR REPLACE VIEW orchestrator_orders AS
  SELECT order_id, recommendation_id, product_id, side, quote_size, base_size, state, exchange_order_id, filled_size,
    filled_value, total_fees, reasons, venue, ticket_id, send_count, note, as_of, created_at, updated_at, purpose, order_type,
    entry_order_id, stop_price, target_price, exit_time, trigger, limit_price, end_time
  FROM orders
--;
-- Functions that are given arrays plan once for each connection; those that were made anew had lost it.
ALTER FUNCTION intent_facts(uuid[], text[], text[], int) SET plan_cache_mode = force_generic_plan
--;
ALTER FUNCTION orders_of_locked(uuid[]) SET plan_cache_mode = force_generic_plan
