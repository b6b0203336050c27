"""Every table, so that one import knows the whole database."""

from schema import execution, market, operations, recommendations, risk, signals
from schema.base import metadata

__all__ = ["execution", "market", "metadata", "operations", "recommendations", "risk", "signals"]
