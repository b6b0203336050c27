"""Lock-step replay of recorded candles through the real processes."""
