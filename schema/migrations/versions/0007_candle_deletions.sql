CREATE TABLE candle_deletions (
  request_id uuid CONSTRAINT pk_candle_deletions PRIMARY KEY,
  product_id text NOT NULL,
  granularity integer NOT NULL,
  start_time timestamptz NOT NULL,
  end_time timestamptz NOT NULL,
  source text NOT NULL,
  count integer NOT NULL,
  caller text NOT NULL,
  note text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
)
--;
COMMENT ON COLUMN candle_deletions.granularity IS 'seconds'
--;
COMMENT ON COLUMN candle_deletions.source IS 'only candles of this source; empty: of any'
--;
CREATE TABLE deleted_candles (
  sequence bigint CONSTRAINT pk_deleted_candles PRIMARY KEY,
  request_id uuid NOT NULL CONSTRAINT fk_deleted_candles_request_id REFERENCES candle_deletions (request_id),
  product_id text NOT NULL,
  granularity integer NOT NULL,
  start timestamptz NOT NULL,
  open numeric(38, 18) NOT NULL,
  high numeric(38, 18) NOT NULL,
  low numeric(38, 18) NOT NULL,
  close numeric(38, 18) NOT NULL,
  volume numeric(38, 18) NOT NULL,
  source text NOT NULL
)
--;
COMMENT ON COLUMN deleted_candles.granularity IS 'seconds'
--;
COMMENT ON COLUMN deleted_candles.sequence IS 'the candle''s place in the stream while it was stored'
