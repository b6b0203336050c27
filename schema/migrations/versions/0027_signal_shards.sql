-- Moves the watermark of one of the shards of a stage, and the stage's own to what every shard has dealt with. Each statement in
-- here sees what was committed before it began, and the lock is held to the commit: of two shards that end a bar together the
-- second sees the first.
CREATE FUNCTION advance_shard_watermark(
  stage_name text, shard integer, shards integer, new_as_of timestamptz, new_sequence bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  reported bigint;
  reached timestamptz;
BEGIN
  PERFORM pg_advisory_xact_lock(7406026);
  PERFORM advance_watermark(stage_name || ':' || shard || '/' || shards, new_as_of, new_sequence);
  SELECT count(*), min(as_of) INTO reported, reached FROM watermarks
    WHERE stage = ANY (SELECT stage_name || ':' || number || '/' || shards FROM generate_series(0, shards - 1) AS number);
  IF reported = shards AND NOT EXISTS (SELECT FROM watermarks WHERE stage = stage_name AND as_of >= reached) THEN
    PERFORM advance_watermark(stage_name, reached, coalesce((SELECT head FROM stream_heads WHERE stream = 'signals'), 0));
  END IF;
END
$$
