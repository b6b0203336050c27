"""A bar, live: its candles, features and decisions, and how they are stored."""
