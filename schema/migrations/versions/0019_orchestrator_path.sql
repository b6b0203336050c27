-- The orders of recommendations, read after these were locked: what whoever held a row until now wrote is seen.
CREATE FUNCTION orders_of_locked(wanted uuid[]) RETURNS SETOF orchestrator_orders LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM trade_recommendations WHERE recommendation_id = ANY (wanted) ORDER BY recommendation_id FOR UPDATE;
  RETURN QUERY SELECT * FROM orchestrator_orders WHERE recommendation_id = ANY (wanted);
END
$$
