-- Adopted orders are few: the alarms look for them every two seconds.
CREATE INDEX ix_orders_adopted ON orders (adopted_at) WHERE adopted_at IS NOT NULL
--;
-- The orchestrator looks for what ended before its order was found.
CREATE INDEX ix_orders_updated_at ON orders (updated_at)
--;
-- Each reconciliation looks for fees that were charged otherwise.
CREATE INDEX ix_fills_created_at ON fills (created_at)
--;
-- Each reconciliation deletes those of a week ago.
CREATE INDEX ix_reconciliations_created_at ON reconciliations (created_at)
--;
-- As it was, but for what was sold since: NOT EXISTS is planned as a join, which reads all orders for very few exits.
CREATE OR REPLACE VIEW failed_exits AS
  SELECT p.product_id, p.base_size, newest.recommendation_id, newest.state, newest.decided_by, newest.reasons,
         newest.updated_at
  FROM positions p
  CROSS JOIN LATERAL (
    SELECT * FROM trade_recommendations r WHERE r.product_id = p.product_id AND r.side = 'SELL'
    ORDER BY r.as_of DESC, r.created_at DESC LIMIT 1
  ) AS newest
  WHERE p.base_size > 0 AND newest.state IN ('REJECTED', 'EXPIRED', 'FAILED') AND coalesce((
    SELECT max(o.updated_at) FROM orders o WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0
  ) <= newest.updated_at, true)
