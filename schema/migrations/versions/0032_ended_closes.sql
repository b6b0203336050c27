COMMENT ON COLUMN waiting_closes.size IS 'base units that it is to sell: all that was held when it was asked for, or the part that was not free'
--;
DROP VIEW monitor_failed_closes
--;
CREATE VIEW monitor_failed_closes AS
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
