-- The path of an order in few round trips, for one order or for many that come together. All are owned by svc_executor. They
-- lock in the order of everybody else: account, recommendation, order, stream head. Amounts go through JSON as text, so that
-- no digit is lost.

-- An order's fills in the order they happened.
CREATE FUNCTION order_fills(wanted uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_array(fill_id, trade_id, price::text, size::text, commission::text, liquidity,
    trade_time) ORDER BY trade_time, fill_id), '[]')
  FROM fills WHERE order_id = wanted
$$
--;
-- What intents are decided by: a row for each request, in their order. The account lock comes first, so that everything is
-- read as it stands under it: nobody else changes exposure or the trading state before the caller's transaction ends.
CREATE FUNCTION intent_facts(recommendation_ids uuid[], product_ids text[], sides text[], candle_seconds int)
RETURNS TABLE (
  trading_state text, machine timestamptz, market timestamptz, known_order uuid, known_hash text, unknown uuid[],
  unanswered uuid[], held numeric, cost numeric, selling numeric, close numeric, recommendation_id uuid, product_id text,
  side text, size numeric, reference_price numeric, as_of timestamptz, expire_at timestamptz, life_clock text, origin text,
  profile text, priority double precision, evidence jsonb, note text, state text, cancel_requested_at timestamptz
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
-- Writes intents in their order, commits their reservations, and counts the first send of those whose `send_count` is 1. An
-- entry whose reservation is not held any more is not written; an exit goes without it. The caller has the account lock, and
-- has looked at the trading state under it.
CREATE FUNCTION write_intents(intents jsonb) RETURNS SETOF orders LANGUAGE plpgsql AS $$
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
      venue, ticket_id, note, as_of, reference_price, expire_at, send_count, sent_at, search_from, sequence
    ) VALUES (
      intent.order_id, intent.recommendation_id, intent.reservation_id, intent.request_hash, intent.product_id,
      intent.side, intent.quote_size, intent.base_size, intent.body, 'PENDING', intent.venue, intent.ticket_id,
      intent.note, intent.as_of, intent.reference_price, intent.expire_at, counted::int,
      CASE WHEN counted THEN clock_timestamp() END, CASE WHEN counted THEN intent.search_from END,
      take_sequences('orders', 1)
    ) RETURNING orders.*;
  END LOOP;
END
$$
--;
-- What the exchange's word about orders is recorded by: the account lock, then the orders in an order of their own, then each
-- with its fills, the position of its product, and which of the fills that were told are booked already. Positions change
-- under the account lock only.
CREATE FUNCTION lock_orders(wanted uuid[], told text[]) RETURNS TABLE (
  stored orders, booked jsonb, held numeric, cost numeric, realized_pnl numeric, total_fees numeric, known text[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM lock_account();
  PERFORM o.order_id FROM orders o WHERE o.order_id = ANY (wanted) ORDER BY o.order_id FOR UPDATE;
  RETURN QUERY
  SELECT o, order_fills(o.order_id), coalesce(p.base_size, 0), coalesce(p.cost, 0), coalesce(p.realized_pnl, 0),
    coalesce(p.total_fees, 0), ARRAY(SELECT f.fill_id FROM fills f WHERE f.fill_id = ANY (told))
  FROM orders o LEFT JOIN positions p ON p.product_id = o.product_id
  WHERE o.order_id = ANY (wanted);
END
$$
--;
-- Records it: fills, the ledger's entries and positions that follow from them, and then the orders, in the order they are
-- given, with their totals as the sums of what is booked. The caller has them by `lock_orders`.
CREATE FUNCTION record_orders(changed jsonb, new_fills jsonb, entries jsonb, positions_after jsonb)
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
      reasons = change.reasons, done_at = change.done_at, watch_until = change.watch_until,
      adopted_at = change.adopted_at, sent_at = NULL, updated_at = now(),
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
