"""The feature set `fs51.v1`: 51 numbers per product and bar, from closed candles only."""
