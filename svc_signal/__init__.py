"""The signal service: closed candles become 51 features, a class probability and BUY, SELL or HOLD."""
