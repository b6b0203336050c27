"""Reads common messages of other services into the plain forms that the page shows: exact text, aware times, bare words.

An absent number is None, never 0: the page must not show what nobody said.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tradekit import wire
from trading.common.v1 import trade_pb2


@dataclass(frozen=True, slots=True)
class ReasonSeen:
    """One finding of a check."""

    code: str
    limit: str
    observed: str
    unit: str
    scope: str


def reasons(messages: Any) -> tuple[ReasonSeen, ...]:
    """All reasons of a message."""
    return tuple(ReasonSeen(m.code, m.limit, m.observed, m.unit, m.scope) for m in messages)


def number(message: Any, field: str) -> str | None:
    """The exact text of a Decimal field, None where it is absent."""
    return getattr(message, field).value if message.HasField(field) else None


def moment(message: Any, field: str) -> datetime | None:
    """The time of a field, None where it is absent."""
    return wire.time_of(getattr(message, field)) if message.HasField(field) else None


def word(descriptor: Any, prefix: str, value: int) -> str:
    """Name of an enum value without its prefix; a value from a newer server is shown by its number."""
    try:
        name: str = descriptor.Name(value)
    except ValueError:
        return f"#{value}"
    return name.removeprefix(f"{prefix}_")


def side(value: int) -> str:
    """BUY or SELL."""
    return word(trade_pb2.Side, "SIDE", value)
