-- The funnel is asked for every second; counting millions of imported candles takes longer than that.
CREATE TABLE candle_counts (
  source text CONSTRAINT pk_candle_counts PRIMARY KEY,
  candles bigint NOT NULL
)
--;
COMMENT ON COLUMN candle_counts.source IS 'as in crypto_prices'
--;
COMMENT ON COLUMN candle_counts.candles IS 'rows of crypto_prices with this source; kept by their triggers'
--;
-- Whoever writes candles holds the lock of their stream, so nobody waits for a count who did not wait before.
CREATE FUNCTION count_added_candles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO candle_counts AS c SELECT source, count(*) FROM added GROUP BY source ORDER BY source
  ON CONFLICT (source) DO UPDATE SET candles = c.candles + excluded.candles;
  RETURN NULL;
END
$$
--;
CREATE FUNCTION count_removed_candles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE candle_counts c SET candles = c.candles - gone.candles
  FROM (SELECT source, count(*) AS candles FROM removed GROUP BY source) AS gone WHERE c.source = gone.source;
  DELETE FROM candle_counts WHERE candles <= 0;
  RETURN NULL;
END
$$
--;
CREATE FUNCTION forget_candle_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM candle_counts;
  RETURN NULL;
END
$$
--;
CREATE TRIGGER candles_added AFTER INSERT ON crypto_prices
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_added_candles()
--;
CREATE TRIGGER candles_removed AFTER DELETE ON crypto_prices
  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_removed_candles()
--;
-- An update may move a candle from one source to another: it is removed there and added here.
CREATE TRIGGER candles_changed_added AFTER UPDATE ON crypto_prices
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_added_candles()
--;
CREATE TRIGGER candles_changed_removed AFTER UPDATE ON crypto_prices
  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_removed_candles()
--;
CREATE TRIGGER candles_truncated AFTER TRUNCATE ON crypto_prices
  FOR EACH STATEMENT EXECUTE FUNCTION forget_candle_counts()
--;
-- The triggers have locked the table against other writers until this is committed.
INSERT INTO candle_counts SELECT source, count(*) FROM crypto_prices GROUP BY source
