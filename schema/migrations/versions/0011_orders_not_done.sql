-- A market order is done at once; one that the exchange has and that is OPEN for long waits for a word that does not come.
CREATE OR REPLACE VIEW order_alarms AS
  SELECT order_id, product_id, 'ORDER_ADOPTED' AS code, adopted_at AS since,
         side || ', now ' || state || ', filled ' || trim_scale(filled_size) AS detail
  FROM orders WHERE adopted_at > clock_timestamp() - interval '1 day'
  UNION ALL
  SELECT order_id, product_id, 'ORDER_NOT_SETTLED', coalesce(done_at, created_at),
         side || ', filled ' || trim_scale(filled_size)
  FROM orders WHERE state = 'OPEN' AND coalesce(done_at, created_at) < clock_timestamp() - interval '5 minutes'
  UNION ALL
  SELECT order_id, product_id, 'CLIENT_ORDER_ID_TAKEN', updated_at, coalesce(reasons -> 0 ->> 'observed', '')
  FROM orders WHERE watch_until > clock_timestamp() AND reasons @> '[{"code": "CLIENT_ORDER_ID_TAKEN"}]'
