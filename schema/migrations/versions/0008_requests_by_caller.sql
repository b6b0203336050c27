-- Until now callers were not told apart. By the contracts, reviews and assessments are asked for by the orchestrator and
-- everything else that is stored by the operator.
ALTER TABLE stored_requests ADD COLUMN caller text
--;
UPDATE stored_requests SET caller =
  CASE WHEN method IN ('AssessRecommendation', 'ValidateRecommendation') THEN 'orchestrator' ELSE 'operator' END
--;
ALTER TABLE stored_requests
  ALTER COLUMN caller SET NOT NULL,
  DROP CONSTRAINT pk_stored_requests,
  ADD CONSTRAINT pk_stored_requests PRIMARY KEY (service, caller, request_id)
--;
COMMENT ON COLUMN stored_requests.caller IS 'identity that sent it; nobody can use up another''s ids'
