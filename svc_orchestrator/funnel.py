"""The funnel: what entered and left every stage, by outcome. Pure; counts come from the rows, never from memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# In the order of the pipeline; a stage that keeps a watermark shows that of the process behind it.
STAGES: Mapping[str, str | None] = {
    "candles": "market",
    "signals": "signal",
    "outcomes": "bridge",
    "recommendations": "orchestrator",
    "validations": None,
    "assessments": None,
    "orders": None,
    "fills": None,
}


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows of a stage ended so, with this first reason."""

    stage: str
    outcome: str
    reason: str
    items: int


@dataclass(frozen=True, slots=True)
class OpenWork:
    """What is not done: recommendations, those of them that wait for market time, orders under way, those of them
    nobody knows the end of, and orders that rest at the exchange."""

    recommendations: int
    waiting: int
    orders: int
    unknown_orders: int
    resting_orders: int


@dataclass(frozen=True, slots=True)
class FunnelRows:
    """What the rows say at one moment; `watermarks` by process."""

    counts: Sequence[Count]
    watermarks: Mapping[str, datetime]
    open: OpenWork


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; `lag` is how far its watermark is behind the market's."""

    name: str
    counts: tuple[Count, ...]
    watermark: datetime | None
    lag: timedelta | None

    @property
    def total(self) -> int:
        return sum(count.items for count in self.counts)


@dataclass(frozen=True, slots=True)
class Funnel:
    """All stages in their order, and what is open."""

    stages: tuple[Stage, ...]
    market_time: datetime | None
    open: OpenWork


def funnel_of(rows: FunnelRows) -> Funnel:
    """The funnel that these rows make."""
    market = rows.watermarks.get("market")
    stages = []
    for name, process in STAGES.items():
        watermark = rows.watermarks.get(process) if process else None
        lag = max(market - watermark, timedelta(0)) if market is not None and watermark is not None else None
        stages.append(Stage(name, tuple(count for count in rows.counts if count.stage == name), watermark, lag))
    return Funnel(tuple(stages), market, rows.open)
