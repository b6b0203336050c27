"""The executor: at most one order per recommendation, and the ledger that follows from its fills."""
