"""From candles to a signed model with its evidence."""
