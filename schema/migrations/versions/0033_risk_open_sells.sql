CREATE OR REPLACE VIEW risk_open_orders AS
SELECT orders.product_id, orders.side, orders.state, orders.quote_size, orders.base_size, orders.filled_size, orders.filled_value, orders.total_fees, orders.purpose, orders.done_size
FROM orders
WHERE orders.state IN ('PENDING', 'UNKNOWN', 'OPEN') AND (orders.purpose != 'PROTECTION' OR orders.state = 'UNKNOWN')
