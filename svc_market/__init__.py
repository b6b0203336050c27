"""Market data: closed candles from the exchange and from files, kept with their source, refused where they are bad."""
