"""Whether the market's candles stand still: then nobody knows how old the newest price is, and no BUY may be measured by it.

The bridge's own data cannot tell, as market time stands still with them. The market service says it where the exchange tells its
time and no candles; where market time is machine time, a watermark that has not moved for too long says it of every other cause,
a market service that does not run included. Pure.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from schema.clocks import Clocks

# What a bar may take to be stored after its close.
LATE = timedelta(seconds=120)


@dataclass(frozen=True, slots=True)
class MarketProgress:
    """`due` is how far the market said that its watermark ought to be, `moved_at` when that last moved, by machine time."""

    due: datetime | None = None
    moved_at: datetime | None = None


def standstill(clocks: Clocks, progress: MarketProgress, longest: timedelta | None) -> str:
    """What is wrong and what to do, empty if candles arrive. `longest` is how long the watermark may stay where it is; None where
    market time has a pace of its own."""
    if clocks.market is None:
        return ""
    still = clocks.machine - progress.moved_at if progress.moved_at else timedelta(0)
    if progress.due is not None and progress.due > clocks.market:
        what = f"; by the exchange's time they should reach {progress.due.isoformat()}"
    elif longest is not None and still > longest:
        what = f"; nothing has come for {still.total_seconds():.0f} s"
    else:
        return ""
    return (
        f"the market's candles end at {clocks.market.isoformat()}{what}. The market service's log says why (health_checks). "
        "Buy when they have caught up; selling goes on"
    )
