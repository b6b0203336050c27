-- Adopted after their end, not settled by the exchange, or with another's order under their id; `detail` in words.
CREATE OR REPLACE VIEW order_alarms AS
  SELECT order_id, product_id, 'ORDER_ADOPTED' AS code, adopted_at AS since,
         side || ', now ' || state || ', filled ' || trim_scale(filled_size) AS detail
  FROM orders WHERE adopted_at > clock_timestamp() - interval '1 day'
  UNION ALL
  SELECT order_id, product_id, 'ORDER_NOT_SETTLED', done_at, side || ', filled ' || trim_scale(filled_size)
  FROM orders WHERE state = 'OPEN' AND done_at < clock_timestamp() - interval '5 minutes'
  UNION ALL
  SELECT order_id, product_id, 'CLIENT_ORDER_ID_TAKEN', updated_at, coalesce(reasons -> 0 ->> 'observed', '')
  FROM orders WHERE watch_until > clock_timestamp() AND reasons @> '[{"code": "CLIENT_ORDER_ID_TAKEN"}]'
