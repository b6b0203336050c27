"""Annualised volatility from hourly closes, correct across gaps, and the usual hourly turnover.

Zero mean, by elapsed time: sigma = sqrt(sum r² / sum h · 24·365), r the log return between two real closes and h the
hours between them. Bars that never traded are not there at all, so a quiet night does not lower the estimate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import median

from tradekit.units import QuoteSize

HOURS_PER_YEAR = 24 * 365
SHOCK_HOURS = 24


@dataclass(frozen=True, slots=True)
class HourClose:
    """Last real close of one hour, the time it was true, and the hour's turnover in quote currency."""

    time: datetime
    close: float
    quote_volume: float

    @property
    def readable(self) -> bool:
        """Whether both are numbers that a market can have; what a table's own checks let through is not taken for one."""
        return 0 < self.close < math.inf and 0 <= self.quote_volume < math.inf


@dataclass(frozen=True, slots=True)
class Volatility:
    """What the hours before `as_of` say; a sigma is None without a single return in its span.

    Hours of which one cannot be read say nothing: no bars, no turnover.
    """

    sigma_14d: float | None
    sigma_24h: float | None
    real_bars: int
    median_quote_volume: QuoteSize


def sigma(closes: Sequence[HourClose], as_of: datetime, hours: int) -> float | None:
    """Annualised volatility over the returns that end in (as_of - hours, as_of]; None if one of them cannot be read."""
    earliest = as_of - timedelta(hours=hours)
    squares, elapsed = [], 0.0
    for before, after in pairwise(closes):
        if earliest < after.time <= as_of:
            if not (before.readable and after.readable):
                return None
            squares.append(math.log(after.close / before.close) ** 2)
            elapsed += (after.time - before.time).total_seconds() / 3600
    if not squares:
        return None
    return math.sqrt(math.fsum(squares) / elapsed * HOURS_PER_YEAR)


def measure(closes: Sequence[HourClose], as_of: datetime, hours: int) -> Volatility:
    """Everything the limits need of one product's last `hours` hours; `closes` in order of time."""
    earliest = as_of - timedelta(hours=hours)
    inside = [close for close in closes if earliest < close.time <= as_of]
    if not all(close.readable for close in inside):
        inside = []
    turnover = median(close.quote_volume for close in inside) if inside else 0.0
    return Volatility(
        sigma_14d=sigma(closes, as_of, hours),
        sigma_24h=sigma(closes, as_of, SHOCK_HOURS),
        real_bars=len(inside),
        median_quote_volume=QuoteSize(Decimal(f"{turnover:.2f}")),
    )
