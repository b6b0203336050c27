-- By run and product, each row of a bar had another page of the index; a bar is one by its close as well as by its start.
ALTER TABLE trading_signals
  DROP CONSTRAINT uq_trading_signals_bar,
  ADD CONSTRAINT uq_trading_signals_bar UNIQUE (as_of, product_id, run_id, granularity)
--;
DROP INDEX ix_trading_signals_as_of
