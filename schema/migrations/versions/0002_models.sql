CREATE TABLE model_roles (
  one SMALLINT NOT NULL,
  champion TEXT,
  challenger TEXT,
  previous TEXT,
  changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_model_roles PRIMARY KEY (one),
  CONSTRAINT ck_model_roles_one CHECK (one = 1)
)
--;
COMMENT ON COLUMN model_roles.one IS 'always 1: there is one row'
--;
COMMENT ON COLUMN model_roles.champion IS 'the version that decides'
--;
COMMENT ON COLUMN model_roles.challenger IS 'the version that predicts in shadow'
--;
COMMENT ON COLUMN model_roles.previous IS 'the champion before, for a rollback'
--;
CREATE TABLE model_changes (
  number BIGSERIAL NOT NULL,
  kind TEXT NOT NULL,
  model_version TEXT NOT NULL,
  previous_version TEXT DEFAULT '' NOT NULL,
  caller TEXT DEFAULT '' NOT NULL,
  note TEXT DEFAULT '' NOT NULL,
  evidence JSONB NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_model_changes PRIMARY KEY (number)
)
--;
COMMENT ON COLUMN model_changes.kind IS 'ADOPTED, CHALLENGED, PROMOTED or ROLLED_BACK'
--;
COMMENT ON COLUMN model_changes.caller IS 'empty: the service itself'
--;
CREATE TABLE shadow_signals (
  run_id TEXT NOT NULL,
  model_version TEXT NOT NULL,
  granularity INTEGER NOT NULL,
  bar_start TIMESTAMP WITH TIME ZONE NOT NULL,
  product_id TEXT NOT NULL,
  side TEXT NOT NULL,
  p_down DOUBLE PRECISION NOT NULL,
  p_neutral DOUBLE PRECISION NOT NULL,
  p_up DOUBLE PRECISION NOT NULL,
  CONSTRAINT pk_shadow_signals PRIMARY KEY (run_id, model_version, granularity, bar_start, product_id)
)
--;
COMMENT ON COLUMN shadow_signals.granularity IS 'seconds'
--;
COMMENT ON COLUMN shadow_signals.side IS 'what the challenger would have said; never traded'
--;
CREATE TABLE matured_labels (
  run_id TEXT NOT NULL,
  granularity INTEGER NOT NULL,
  bar_start TIMESTAMP WITH TIME ZONE NOT NULL,
  product_id TEXT NOT NULL,
  model_version TEXT NOT NULL,
  outcome SMALLINT NOT NULL,
  next_return DOUBLE PRECISION NOT NULL,
  CONSTRAINT pk_matured_labels PRIMARY KEY (run_id, granularity, bar_start, product_id)
)
--;
COMMENT ON COLUMN matured_labels.granularity IS 'seconds'
--;
COMMENT ON COLUMN matured_labels.model_version IS 'the champion whose label rule and signal this is'
--;
COMMENT ON COLUMN matured_labels.outcome IS '0 DOWN, 1 NEUTRAL, 2 UP'
--;
COMMENT ON COLUMN matured_labels.next_return IS 'log return from the next open to the open after it'
--;
CREATE TABLE model_drift (
  run_id TEXT NOT NULL,
  model_version TEXT NOT NULL,
  as_of TIMESTAMP WITH TIME ZONE NOT NULL,
  report JSONB NOT NULL,
  suspended BOOLEAN NOT NULL,
  CONSTRAINT pk_model_drift PRIMARY KEY (run_id, model_version, as_of)
)
--;
COMMENT ON COLUMN model_drift.suspended IS 'true while the evidence profile says HOLD for it'
--;
CREATE TABLE feature_states (
  run_id TEXT NOT NULL,
  granularity INTEGER NOT NULL,
  feature_set_hash TEXT NOT NULL,
  last_bar BIGINT NOT NULL,
  candle_sequence BIGINT NOT NULL,
  content BYTEA NOT NULL,
  saved_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_feature_states PRIMARY KEY (run_id, granularity)
)
--;
COMMENT ON COLUMN feature_states.granularity IS 'seconds'
--;
COMMENT ON COLUMN feature_states.last_bar IS 'absolute bar number of the newest bar in it'
--;
COMMENT ON COLUMN feature_states.candle_sequence IS 'every candle up to it is in the state'
--;
-- A state is numbers: compressing it would only cost time.
ALTER TABLE feature_states ALTER COLUMN content SET STORAGE EXTERNAL
--;
-- NaN is greater than every number, so it passes the checks of prices and volume; infinity is a timestamp.
ALTER TABLE crypto_prices
  ADD CONSTRAINT ck_crypto_prices_numbers CHECK (high <> 'NaN' AND close <> 'NaN' AND volume <> 'NaN'),
  ADD CONSTRAINT ck_crypto_prices_start CHECK (start >= '1970-01-01Z' AND start < '2200-01-01Z')
