CREATE INDEX ix_orders_protection_ended ON orders (product_id, updated_at)
  WHERE purpose = 'PROTECTION' AND state IN ('FILLED', 'CANCELLED', 'REJECTED')
--;
CREATE OR REPLACE VIEW monitor_unprotected_positions AS
  SELECT p.product_id, p.base_size, p.base_size - covered.size AS unprotected_size,
         greatest(p.updated_at, ended.at) AS since
  FROM positions p
  JOIN products r ON r.product_id = p.product_id
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(greatest(o.base_size - o.filled_size, 0)), 0) AS size FROM orders o
    WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.state IN ('WAITING', 'PENDING', 'UNKNOWN', 'OPEN')
  ) AS covered
  CROSS JOIN LATERAL (
    SELECT max(o.updated_at) AS at FROM orders o
    WHERE o.product_id = p.product_id AND o.purpose = 'PROTECTION' AND o.state IN ('FILLED', 'CANCELLED', 'REJECTED')
      AND (o.state <> 'REJECTED' OR o.triggered_at IS NOT NULL OR o.exchange_order_id IS NOT NULL)
  ) AS ended
  WHERE p.base_size > 0 AND p.base_size - covered.size >= greatest(r.base_min_size, r.base_increment)
    AND (p.base_size - covered.size) * p.cost >= p.base_size * r.quote_min_size
