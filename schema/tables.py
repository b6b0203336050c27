"""Every table, so that one import knows the whole database."""

from schema import books, market, operations, recommendations, risk, signals
from schema.base import metadata

__all__ = ["books", "market", "metadata", "operations", "recommendations", "risk", "signals"]
