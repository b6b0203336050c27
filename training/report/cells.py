"""How the page writes figures, and a table of them. What is plain text here is escaped by the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """A cell is plain text or markup; `lead` is the row that stands out."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    lead: int | None = None


def number(value: float | None, digits: int = 4) -> str:
    """A plain figure; a dash where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A signed share, in colour."""
    if value is None:
        return NOTHING
    kind = "good" if value > 0 else "bad" if value < 0 else ""
    shown = f"{value:+,.0%}" if abs(value) >= 10 else f"{value:+.{digits}%}"
    return Markup('<span class="{}">{}</span>').format(kind, shown)


def percent_and_sharpe(total_return: float | None, sharpe: float | None, digits: int) -> str:
    """A net return, and its Sharpe ratio in brackets."""
    return Markup("{} ({})").format(percent(total_return), number(sharpe, digits))


def share(value: float, digits: int = 0) -> str:
    """A share without a sign."""
    return f"{value:.{digits}%}"


def day(seconds: int) -> str:
    """The UTC date of unix seconds."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def words(text: str) -> str:
    """A cell of text that may break."""
    return Markup('<span class="words">{}</span>').format(text)
