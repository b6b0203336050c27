ALTER TABLE orders ADD COLUMN done_size NUMERIC(38, 18)
--;
COMMENT ON COLUMN orders.done_size IS 'base units that were filled when the exchange called it done; null: not told'
--;
-- What an order that is done at the exchange holds of the coins is what it has sold and nobody has booked yet.
CREATE OR REPLACE FUNCTION intent_facts(recommendation_ids uuid[], product_ids text[], sides text[], candle_seconds int)
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
      SELECT sum(greatest(coalesce(o.done_size, o.base_size) - o.filled_size, 0)) FROM orders o
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
ALTER FUNCTION intent_facts(uuid[], text[], text[], int) SET plan_cache_mode = force_generic_plan
--;
CREATE OR REPLACE FUNCTION record_orders(changed jsonb, new_fills jsonb, entries jsonb, positions_after jsonb)
RETURNS TABLE (stored orders, booked jsonb) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  change orders%ROWTYPE;
BEGIN
  INSERT INTO fills (
    fill_id, order_id, trade_id, product_id, side, price, size, commission, liquidity, realized_pnl, trade_time, as_of
  )
  SELECT fill_id, order_id, trade_id, product_id, side, price, size, commission, liquidity, realized_pnl, trade_time, as_of
  FROM jsonb_populate_recordset(NULL::fills, new_fills);
  INSERT INTO ledger_entries (transaction_id, account, currency, amount, order_id, as_of)
  SELECT transaction_id, account, currency, amount, order_id, as_of
  FROM jsonb_populate_recordset(NULL::ledger_entries, entries);
  INSERT INTO positions (product_id, base_size, cost, realized_pnl, total_fees)
  SELECT product_id, base_size, cost, realized_pnl, total_fees
  FROM jsonb_populate_recordset(NULL::positions, positions_after)
  ON CONFLICT (product_id) DO UPDATE SET base_size = excluded.base_size, cost = excluded.cost,
    realized_pnl = excluded.realized_pnl, total_fees = excluded.total_fees, updated_at = now();
  PERFORM pg_notify('orders', '');
  FOR change IN SELECT * FROM jsonb_populate_recordset(NULL::orders, changed) LOOP
    RETURN QUERY UPDATE orders SET exchange_order_id = change.exchange_order_id, state = change.state,
      reasons = change.reasons, done_at = change.done_at, done_size = change.done_size,
      watch_until = change.watch_until, adopted_at = change.adopted_at, sent_at = NULL,
      -- Kept where nothing happened to the order and only the watch for more of it is over.
      updated_at = coalesce(change.updated_at, now()),
      filled_size = (SELECT coalesce(sum(f.size), 0) FROM fills f WHERE f.order_id = change.order_id),
      total_fees = (SELECT coalesce(sum(f.commission), 0) FROM fills f WHERE f.order_id = change.order_id),
      -- By the entries' transactions, which are the fills: there is an index of them.
      filled_value = (
        SELECT coalesce(sum(abs(e.amount)), 0) FROM fills f JOIN ledger_entries e ON e.transaction_id = f.fill_id
        WHERE f.order_id = change.order_id AND e.order_id = change.order_id AND e.account = 'trading'
          AND e.currency = split_part(orders.product_id, '-', 2)
      ),
      sequence = take_sequences('orders', 1)
    WHERE orders.order_id = change.order_id RETURNING orders, order_fills(orders.order_id);
  END LOOP;
END
$$
--;
CREATE OR REPLACE VIEW monitor_unprotected_positions AS
  SELECT p.product_id, p.base_size, p.base_size - covered.size AS unprotected_size,
         greatest(p.updated_at, ended.at) AS since
  FROM positions p
  JOIN products r ON r.product_id = p.product_id
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(greatest(coalesce(o.done_size, o.base_size) - o.filled_size, 0)), 0) AS size FROM orders o
    WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.state IN ('WAITING', 'PENDING', 'UNKNOWN', 'OPEN')
  ) AS covered
  CROSS JOIN LATERAL (
    SELECT max(o.updated_at) AS at FROM orders o
    WHERE o.product_id = p.product_id AND o.purpose = 'PROTECTION' AND o.state IN ('FILLED', 'CANCELLED', 'REJECTED')
      AND (o.state <> 'REJECTED' OR o.triggered_at IS NOT NULL OR o.exchange_order_id IS NOT NULL)
  ) AS ended
  WHERE p.base_size > 0 AND p.base_size - covered.size >= greatest(r.base_min_size, r.base_increment)
    AND (p.base_size - covered.size) * p.cost >= p.base_size * r.quote_min_size
