"""A Coinbase that runs on this machine: REST over TLS, JWT, order rules, a market that can be steered.

It shares no code with the trading services, so that it stays an independent check of them.
"""
