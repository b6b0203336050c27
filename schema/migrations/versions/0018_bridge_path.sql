-- What is stored of requests (three arrays of one length), read after their locks are held: a later statement of a function
-- sees what was committed while an earlier one waited. Locks are taken in one order, so that no two batches wait for each other.
CREATE FUNCTION begin_requests(services text[], callers text[], request_ids uuid[], locks bigint[])
RETURNS SETOF stored_requests LANGUAGE plpgsql AS $$
DECLARE
  wanted bigint;
BEGIN
  FOR wanted IN SELECT DISTINCT unnest(locks) ORDER BY 1 LOOP
    PERFORM pg_advisory_xact_lock(wanted);
  END LOOP;
  RETURN QUERY
    SELECT DISTINCT s.* FROM unnest(services, callers, request_ids) AS asked (service, caller, request_id)
    JOIN stored_requests s USING (service, caller, request_id);
END
$$
--;
-- Stores reviews, unless their recommendation has some, and notes what each request_id stands for. `given` are items with their
-- place, caller, request_id, body, lock of the recommendation, validation_id and rows of llm_validation (`reviews`).
-- Gives of each item the body that its request_id stands for, and what is stored then; an item with another body stores nothing.
CREATE FUNCTION store_reviews(of_service text, of_method text, given jsonb)
RETURNS TABLE (of_place bigint, noted_body text, review llm_validation) LANGUAGE plpgsql AS $$
DECLARE
  wanted bigint;
BEGIN
  FOR wanted IN SELECT DISTINCT item.lock FROM jsonb_to_recordset(given) AS item (lock bigint) ORDER BY 1 LOOP
    PERFORM pg_advisory_xact_lock(wanted);
  END LOOP;
  INSERT INTO stored_requests (service, caller, request_id, method, body_sha256, response)
    SELECT of_service, item.caller, item.request_id, of_method, item.body, ''
    FROM jsonb_to_recordset(given) AS item (place bigint, caller text, request_id uuid, body text)
    -- In one order too: an id that another transaction has just noted is waited for.
    ORDER BY item.caller, item.request_id, item.place
    ON CONFLICT DO NOTHING;
  INSERT INTO llm_validation (validation_id, recommendation_id, product_id, reviewer, outcome, enforced, mode, reasons, model,
      model_digest, server_version, prompt_version, prompt_sha256, request_hash, inputs, options, raw_output, latency_ms,
      timings, error, trace_id)
    SELECT r.validation_id, r.recommendation_id, r.product_id, r.reviewer, r.outcome, r.enforced, r.mode, r.reasons, r.model,
      r.model_digest, r.server_version, r.prompt_version, r.prompt_sha256, r.request_hash, r.inputs, r.options, r.raw_output,
      r.latency_ms, r.timings, r.error, r.trace_id
    FROM (
      -- Of several items about one recommendation the first one's review counts.
      SELECT DISTINCT ON (item.validation_id) item.place, item.reviews
      FROM jsonb_to_recordset(given)
        AS item (place bigint, caller text, request_id uuid, body text, validation_id uuid, reviews jsonb)
      JOIN stored_requests s ON s.service = of_service AND s.caller = item.caller AND s.request_id = item.request_id
        AND s.body_sha256 = item.body
      WHERE NOT EXISTS (
        SELECT 1 FROM llm_validation v WHERE v.validation_id = item.validation_id AND v.enforced IS NOT NULL
      )
      ORDER BY item.validation_id, item.place
    ) decided
    CROSS JOIN LATERAL jsonb_populate_recordset(NULL::llm_validation, decided.reviews) WITH ORDINALITY AS r
    ORDER BY decided.place, r.ordinality;
  RETURN QUERY
    SELECT item.place, s.body_sha256, v
    FROM jsonb_to_recordset(given) AS item (place bigint, caller text, request_id uuid, validation_id uuid)
    JOIN stored_requests s ON s.service = of_service AND s.caller = item.caller AND s.request_id = item.request_id
    LEFT JOIN llm_validation v ON v.validation_id = item.validation_id
    ORDER BY item.place, v.review_id;
END
$$
