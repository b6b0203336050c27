"""What svc_monitor reads of others: exits that wait or failed, orders that a person must hear of, and contracts broken.

From the rows and not from the services: one of those may be what an exit waits for. Polled every two seconds, so each of
these finds what it wants by an index (a test reads the plans).
"""

from sqlalchemy import Text, text

from schema.base import Amount, Id, Json, Time
from schema.execution import ledger_adjustments, ledger_balances, ledger_opening, orders, positions, reconciliations
from schema.views.base import part, view

_O = orders.c

# Exits that are not done, with what each waits for.
monitor_open_exits = view(
    "monitor_open_exits",
    text("""
  SELECT r.recommendation_id, r.product_id, r.state, r.created_at, r.delay_reason, o.order_id, o.state AS order_state
  FROM trade_recommendations r LEFT JOIN orders o USING (recommendation_id)
  WHERE r.side = 'SELL' AND r.state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING')
""").columns(
        recommendation_id=Id,
        product_id=Text,
        state=Text,
        created_at=Time,
        delay_reason=Json,
        order_id=Id,
        order_state=Text,
    ),
)

# Of every product that is still held, its newest exit where that failed and nothing was sold since.
monitor_failed_exits = view(
    "monitor_failed_exits",
    text("""
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
""").columns(product_id=Text, base_size=Amount, recommendation_id=Id, state=Text, decided_by=Text, reasons=Json),
)

# An operator's closes that are not done; they have no recommendation. One that is WAITING has no order yet.
monitor_open_closes = view(
    "monitor_open_closes",
    text("""
  SELECT order_id, product_id, base_size, filled_size, state, reasons, cancel_requested_at, created_at
  FROM orders WHERE purpose = 'CLOSE' AND state IN ('PENDING', 'UNKNOWN', 'OPEN')
  UNION ALL
  SELECT order_id, product_id, size, 0, 'WAITING', reasons, NULL, created_at FROM waiting_closes WHERE ended_at IS NULL
""").columns(
        order_id=Id,
        product_id=Text,
        base_size=Amount,
        filled_size=Amount,
        state=Text,
        reasons=Json,
        cancel_requested_at=Time,
        created_at=Time,
    ),
)

# Of every product that is still held, its newest close where that sold less than it was to and nothing was sold since. One that
# waited and made no order has failed as well, unless it was a halt or an operator that ended it, or nothing was left to sell.
monitor_failed_closes = view(
    "monitor_failed_closes",
    text("""
  SELECT p.product_id, p.base_size AS held, newest.order_id, newest.base_size, newest.filled_size, newest.state,
         newest.reasons
  FROM positions p
  CROSS JOIN LATERAL (
    SELECT * FROM (
      SELECT * FROM (
        SELECT o.order_id, o.base_size, o.filled_size, o.state, o.reasons, o.created_at, o.updated_at
        FROM orders o WHERE o.product_id = p.product_id AND o.purpose = 'CLOSE'
        ORDER BY o.created_at DESC LIMIT 1
      ) AS sent
      UNION ALL
      SELECT * FROM (
        SELECT c.order_id, c.size, 0, CASE
            WHEN c.reasons -> 0 ->> 'code' IN ('TRADING_HALTED', 'CANCELLED_BY_OPERATOR', 'NOT_HELD') THEN 'ENDED'
            WHEN (SELECT o.order_id FROM orders o WHERE o.order_id = c.order_id) IS NOT NULL THEN 'ENDED'
            ELSE 'REJECTED'
          END, c.reasons, c.created_at, c.ended_at
        FROM waiting_closes c WHERE c.product_id = p.product_id AND c.ended_at IS NOT NULL
        ORDER BY c.created_at DESC LIMIT 1
      ) AS waited
    ) AS either ORDER BY created_at DESC LIMIT 1
  ) AS newest
  WHERE p.base_size > 0 AND newest.state IN ('CANCELLED', 'REJECTED') AND newest.filled_size < newest.base_size
    -- Not as NOT EXISTS: that is planned as a join, which reads all orders although it is asked of very few.
    AND coalesce((
      SELECT max(o.updated_at) FROM orders o WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0
        AND o.order_id <> newest.order_id
    ) <= newest.updated_at, true)
""").columns(product_id=Text, held=Amount, order_id=Id, base_size=Amount, filled_size=Amount, state=Text, reasons=Json),
)

# Orders of which nobody knows whether the exchange has them.
monitor_unknown_orders = view(
    "monitor_unknown_orders",
    part(orders, "order_id product_id side as_of").where(_O.state == "UNKNOWN"),
)

# Adopted after their end, not ended by the exchange, or with another's order under their id; `detail` in words. A market
# order is done at once, an entry with a limit at the end of its life; one that the exchange has and that is OPEN for long
# after that waits for a word that does not come.
monitor_order_alarms = view(
    "monitor_order_alarms",
    text("""
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
""").columns(order_id=Id, product_id=Text, code=Text, since=Time, detail=Text),
)

# Where two services lately disagreed on what an answer may be: among the newest thousand events, and in what waits.
monitor_contract_violations = view(
    "monitor_contract_violations",
    text("""
  SELECT reason ->> 'scope' AS scope, reason ->> 'observed' AS observed, e.created_at
  FROM (SELECT reasons, created_at FROM recommendation_events ORDER BY sequence DESC LIMIT 1000) AS e
  CROSS JOIN LATERAL jsonb_array_elements(e.reasons) AS reason
  WHERE reason ->> 'code' = 'CONTRACT_VIOLATION'
  UNION ALL
  SELECT delay_reason ->> 'scope', delay_reason ->> 'observed', clock_timestamp() FROM trade_recommendations
  WHERE state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING') AND delay_reason ->> 'code' = 'CONTRACT_VIOLATION'
""").columns(scope=Text, observed=Text, created_at=Time),
)

# Positions of which some part that the exchange takes an order of is in no order that sells; since when, by the newest change
# of the position and by the newest end of what protected it. What the exchange refused at once protected nothing.
monitor_unprotected_positions = view(
    "monitor_unprotected_positions",
    text("""
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
""").columns(product_id=Text, base_size=Amount, unprotected_size=Amount, since=Time),
)

# ---- the account, for the three-way match: its fills, what was adjusted, what is booked, and what the exchange has ---------

monitor_account_fills = view(
    "monitor_account_fills",
    text("""
  SELECT f.fill_id, f.trade_id, f.order_id, f.product_id, f.side, f.price, f.size, f.commission, f.liquidity, f.trade_time,
         f.created_at, o.created_at AS ordered_at, o.filled_value
  FROM fills f JOIN orders o USING (order_id)
""").columns(
        fill_id=Text,
        trade_id=Text,
        order_id=Id,
        product_id=Text,
        side=Text,
        price=Amount,
        size=Amount,
        commission=Amount,
        liquidity=Text,
        trade_time=Time,
        created_at=Time,
        ordered_at=Time,
        filled_value=Amount,
    ),
)

monitor_account_adjustments = view(
    "monitor_account_adjustments",
    part(ledger_adjustments, "adjustment_id kind currency amount cost equity_change note caller created_at"),
)

monitor_account_positions = view("monitor_account_positions", part(positions, "product_id base_size cost realized_pnl"))

monitor_ledger_balances = view("monitor_ledger_balances", part(ledger_balances, "account currency amount"))

monitor_ledger_opening = view("monitor_ledger_opening", part(ledger_opening, "opened_at"))

monitor_newest_reconciliation = view(
    "monitor_newest_reconciliation",
    part(reconciliations, "balances orders_unknown created_at booking_sequence")
    .order_by(reconciliations.c.reconciliation_id.desc())
    .limit(1),
)
