-- A delayed recommendation says why, and since when; a cancelled one who wanted it.
ALTER TABLE trade_recommendations
  ADD COLUMN delay_reason JSONB,
  ADD COLUMN delayed_since TIMESTAMP WITH TIME ZONE,
  ADD COLUMN cancel_requested_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN cancel_note TEXT DEFAULT '' NOT NULL
--;
COMMENT ON COLUMN trade_recommendations.delay_reason IS 'why it was put back last; null if it never was'
--;
COMMENT ON COLUMN trade_recommendations.delayed_since IS
  'machine time it was put back first, from which retries are bounded'
--;
COMMENT ON COLUMN trade_recommendations.cancel_requested_at IS
  'machine time an operator cancelled it; nothing new is done for it'
--;
COMMENT ON COLUMN trade_recommendations.cancel_note IS 'the operator''s words on that'
--;
-- What validator, risk engine and executor compare a request with. Simple enough to be locked through.
CREATE VIEW recommendation_terms AS
  SELECT recommendation_id, product_id, side, size, reference_price, as_of, expire_at, life_clock, origin, profile,
         priority, evidence, note, state, cancel_requested_at
  FROM trade_recommendations
--;
-- The order of a recommendation, for whoever decides how that ended.
CREATE VIEW recommendation_orders AS
  SELECT recommendation_id, order_id, product_id, side, state, filled_size, reasons, updated_at
  FROM orders WHERE recommendation_id IS NOT NULL
--;
-- Exits that are not done, with what each waits for.
CREATE VIEW open_exits AS
  SELECT r.recommendation_id, r.product_id, r.state, r.created_at, r.delay_reason, o.order_id, o.state AS order_state
  FROM trade_recommendations r LEFT JOIN recommendation_orders o USING (recommendation_id)
  WHERE r.side = 'SELL' AND r.state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING')
--;
-- Of every product that is still held, its newest exit where that failed and nothing was sold since.
CREATE VIEW failed_exits AS
  SELECT p.product_id, p.base_size, newest.recommendation_id, newest.state, newest.decided_by, newest.reasons,
         newest.updated_at
  FROM positions p
  CROSS JOIN LATERAL (
    SELECT * FROM trade_recommendations r WHERE r.product_id = p.product_id AND r.side = 'SELL'
    ORDER BY r.as_of DESC, r.created_at DESC LIMIT 1
  ) AS newest
  WHERE p.base_size > 0 AND newest.state IN ('REJECTED', 'EXPIRED', 'FAILED') AND NOT EXISTS (
    SELECT 1 FROM orders o WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0
      AND o.updated_at > newest.updated_at
  )
--;
-- Where two services lately disagreed on what an answer may be: among the newest thousand events, and in what waits.
CREATE VIEW contract_violations AS
  SELECT reason ->> 'scope' AS scope, reason ->> 'observed' AS observed, e.created_at
  FROM (SELECT reasons, created_at FROM recommendation_events ORDER BY sequence DESC LIMIT 1000) AS e
  CROSS JOIN LATERAL jsonb_array_elements(e.reasons) AS reason
  WHERE reason ->> 'code' = 'CONTRACT_VIOLATION'
  UNION ALL
  SELECT delay_reason ->> 'scope', delay_reason ->> 'observed', clock_timestamp() FROM trade_recommendations
  WHERE state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING') AND delay_reason ->> 'code' = 'CONTRACT_VIOLATION'
