"""Coinbase Advanced Trade, and the simulated exchange, which speaks as it does."""
