"""Accounts of the ledger: what the exchange holds for us, what trades turned into what, fees, what was there at the opening,
what is in the account without being the mesh's own, and what was brought in or taken out since."""

EXCHANGE, TRADING, FEES, OPENING = "exchange", "trading", "fees", "opening"
UNADOPTED, ADJUSTMENTS = "unadopted", "adjustments"
