ALTER TABLE orders
  ADD COLUMN search_from TIMESTAMP WITH TIME ZONE,
  ADD COLUMN done_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN watch_until TIMESTAMP WITH TIME ZONE,
  ADD COLUMN adopted_at TIMESTAMP WITH TIME ZONE
--;
COMMENT ON COLUMN orders.search_from IS 'a time of the exchange before the first send; null: unknown, all of its orders are searched'
--;
COMMENT ON COLUMN orders.done_at IS 'machine time the exchange first called it done'
--;
COMMENT ON COLUMN orders.watch_until IS 'machine time until which an ended order is still searched for at the exchange'
--;
COMMENT ON COLUMN orders.adopted_at IS 'machine time an order that had ended without it turned up at the exchange'
--;
CREATE INDEX ix_orders_watched ON orders (watch_until) WHERE watch_until IS NOT NULL
--;
-- Owned by svc_risk, called by svc_executor: REDUCING only lets exits through, HALTED nothing.
CREATE OR REPLACE FUNCTION trading_state_allows(state text, side text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT state = 'ACTIVE' OR (state = 'REDUCING' AND side = 'SELL')
$$
--;
-- Counts a send before its bytes leave, under the account lock: whoever tightened the trading state before is obeyed, and
-- whoever does it later finds the send counted. No row where the order may not be sent any more.
CREATE OR REPLACE FUNCTION count_send(wanted uuid, exchange_time timestamptz) RETURNS SETOF orders LANGUAGE plpgsql AS $$
DECLARE
  switch text;
  found_order orders%ROWTYPE;
BEGIN
  SELECT trading_state INTO STRICT switch FROM accounts WHERE account_id = 'main' FOR UPDATE;
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
--;
-- Orders that a person must hear of: adopted after their end, and those that the exchange calls done and does not settle.
CREATE VIEW order_alarms AS
  SELECT order_id, product_id, 'ORDER_ADOPTED' AS code, adopted_at AS since FROM orders
  WHERE adopted_at > clock_timestamp() - interval '1 day'
  UNION ALL
  SELECT order_id, product_id, 'ORDER_NOT_SETTLED', done_at FROM orders
  WHERE state = 'OPEN' AND done_at < clock_timestamp() - interval '5 minutes'
