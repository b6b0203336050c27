-- An operator's close has no recommendation, so the views of exits do not have it.
CREATE INDEX ix_orders_closes ON orders (product_id, created_at) WHERE recommendation_id IS NULL
--;
-- Closes that are not done.
CREATE VIEW open_closes AS
  SELECT order_id, product_id, base_size, filled_size, state, reasons, cancel_requested_at, created_at
  FROM orders WHERE recommendation_id IS NULL AND side = 'SELL' AND state IN ('PENDING', 'UNKNOWN', 'OPEN')
--;
-- Of every product that is still held, its newest close where that sold less than it was to and nothing was sold since.
CREATE VIEW failed_closes AS
  SELECT p.product_id, p.base_size AS held, newest.order_id, newest.base_size, newest.filled_size, newest.state,
         newest.reasons, newest.updated_at
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
