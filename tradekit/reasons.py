"""Reasons and verdicts: how every check of the mesh says what it found.

One check, one function, one verdict. All verdicts are kept; nothing refused disappears.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tradekit.decimals import plain


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding: rule code, its limit, what was observed (both plain text), their unit, and what it applies to."""

    code: str
    limit: str = ""
    observed: str = ""
    unit: str = ""
    scope: str = ""

    def as_dict(self) -> dict[str, str]:
        """The form that is stored as JSON."""
        return {
            "code": self.code,
            "limit": self.limit,
            "observed": self.observed,
            "unit": self.unit,
            "scope": self.scope,
        }


def reason_from_dict(stored: Mapping[str, Any]) -> Reason:
    """The reason that `as_dict` stored."""
    return Reason(stored["code"], stored["limit"], stored["observed"], stored["unit"], stored["scope"])


def reasons_to_json(reasons: Iterable[Reason]) -> list[dict[str, str]]:
    """Reasons as stored."""
    return [reason.as_dict() for reason in reasons]


def reasons_from_json(stored: Iterable[Mapping[str, Any]]) -> tuple[Reason, ...]:
    """Reasons as they were before they were stored."""
    return tuple(reason_from_dict(item) for item in stored)


def shown(value: Decimal | float | int | str) -> str:
    """A figure as text in a reason: exact for decimals, six significant digits for statistics."""
    if isinstance(value, Decimal):
        return plain(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
