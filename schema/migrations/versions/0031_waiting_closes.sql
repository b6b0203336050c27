CREATE TABLE waiting_closes (
  order_id UUID NOT NULL,
  product_id TEXT NOT NULL,
  size NUMERIC(38, 18) NOT NULL,
  note TEXT NOT NULL,
  reasons JSONB NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  ended_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_waiting_closes PRIMARY KEY (order_id)
)
--;
COMMENT ON COLUMN waiting_closes.order_id IS 'of the order that it makes'
--;
COMMENT ON COLUMN waiting_closes.size IS 'base units that were held when it was asked for'
--;
COMMENT ON COLUMN waiting_closes.note IS 'the operator''s words'
--;
COMMENT ON COLUMN waiting_closes.reasons IS 'what it waited for last, or why it ended without an order'
--;
COMMENT ON COLUMN waiting_closes.ended_at IS 'machine time from which it is not tried any more'
--;
CREATE INDEX ix_waiting_closes_open ON waiting_closes (product_id) WHERE ended_at IS NULL
--;
CREATE INDEX ix_waiting_closes_product_id ON waiting_closes (product_id, created_at)
--;
DROP VIEW monitor_open_closes
--;
CREATE VIEW monitor_open_closes AS
  SELECT order_id, product_id, base_size, filled_size, state, reasons, cancel_requested_at, created_at
  FROM orders WHERE purpose = 'CLOSE' AND state IN ('PENDING', 'UNKNOWN', 'OPEN')
  UNION ALL
  SELECT order_id, product_id, size, 0, 'WAITING', reasons, NULL, created_at FROM waiting_closes WHERE ended_at IS NULL
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
        SELECT c.order_id, c.size, 0, 'REJECTED', c.reasons, c.created_at, c.ended_at
        FROM waiting_closes c
        WHERE c.product_id = p.product_id AND c.reasons -> 0 ->> 'code' = 'RETRIES_EXHAUSTED'
        ORDER BY c.created_at DESC LIMIT 1
      ) AS given_up
    ) AS either ORDER BY created_at DESC LIMIT 1
  ) AS newest
  WHERE p.base_size > 0 AND newest.state IN ('CANCELLED', 'REJECTED') AND newest.filled_size < newest.base_size
    -- Not as NOT EXISTS: that is planned as a join, which reads all orders although it is asked of very few.
    AND coalesce((
      SELECT max(o.updated_at) FROM orders o WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0
        AND o.order_id <> newest.order_id
    ) <= newest.updated_at, true)
