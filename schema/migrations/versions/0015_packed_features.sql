-- [["ret_1", 0.01], ...] becomes [0.01, ...]: they were written in the order of the feature set. The hash of a recommendation's
-- terms covers its evidence, so reviews and tickets from before count for no recommendation that is still open: it is reviewed
-- again or expires.
UPDATE trade_recommendations SET evidence = jsonb_set(evidence, '{features}', (
  SELECT coalesce(jsonb_agg(feature -> 1 ORDER BY place), '[]')
  FROM jsonb_array_elements(evidence -> 'features') WITH ORDINALITY AS features(feature, place)
))
WHERE jsonb_typeof(evidence -> 'features' -> 0) = 'array'
