"""The arithmetic of the bench, without a mesh: percentiles, rates, the steps of a recommendation, and how loads ended."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

EXECUTED = "EXECUTED"
OPEN_STATES = ("PROPOSED", "IN_REVIEW", "EXECUTING")
# The moments of an executed entry in their order. Which column each comes from is said in `rows.py`.
STEPS = ("created", "in_review", "reviewed", "assessed", "executing", "ordered", "sent", "recorded", "ended")


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest rank: the least value that `percent` of all values do not exceed. Nothing is made up between two."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values, no percentile")
    if not 0 < percent <= 100:
        raise ValueError(f"{percent} is no percentile; must be above 0 and at most 100")
    return ordered[math.ceil(percent / 100 * len(ordered)) - 1]


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds of many: the middle, the slow ones, the slowest, and of how many."""

    p50: float
    p99: float
    longest: float
    count: int


def spread(values: Sequence[float]) -> Spread | None:
    """None of no values."""
    if not values:
        return None
    return Spread(percentile(values, 50), percentile(values, 99), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Moments:
    """What the rows say of one recommendation: its moments by step, how it stands, and why."""

    at: Mapping[str, datetime]
    state: str
    reasons: tuple[str, ...] = ()
    orders: int = 0
    delays: int = 0
    """How often it was put back to be tried again; `delay` is why it was put back last."""
    delay: str = ""

    def seconds(self, since: str, until: str) -> float | None:
        """From one moment to another; None where one of them is missing."""
        if since not in self.at or until not in self.at:
            return None
        return (self.at[until] - self.at[since]).total_seconds()


def latencies(found: Iterable[Moments], since: str, until: str) -> list[float]:
    """The seconds between two moments, of those that have both."""
    return [seconds for one in found if (seconds := one.seconds(since, until)) is not None]


def step_seconds(found: Sequence[Moments]) -> dict[str, Spread]:
    """The time from each moment to the next that is known, of executed recommendations."""
    executed = [one for one in found if one.state == EXECUTED]
    steps = {}
    for since, until in pairwise(step for step in STEPS if any(step in one.at for one in executed)):
        seconds = spread(latencies(executed, since, until))
        if seconds is not None:
            steps[f"{since} -> {until}"] = seconds
    return steps


def ends(found: Iterable[Moments]) -> Counter[str]:
    """How many ended how. One that was not executed is counted by state and reasons, one still open as OPEN."""
    counted: Counter[str] = Counter()
    for one in found:
        if one.state == EXECUTED:
            counted[EXECUTED] += 1
        else:
            state = f"OPEN ({one.state})" if one.state in OPEN_STATES else one.state
            counted[f"{state}: {', '.join(one.reasons) or 'no reason'}"] += 1
    return counted


def delays(found: Iterable[Moments]) -> Counter[str]:
    """How often recommendations were put back, by the reason that each was put back for last."""
    counted: Counter[str] = Counter()
    for one in found:
        if one.delays:
            counted[one.delay or "no reason"] += one.delays
    return counted


def executed_per_second(found: Sequence[Moments]) -> float:
    """Executed recommendations by the time from the first creation to the last end; 0 where nothing was executed."""
    executed = [one for one in found if one.state == EXECUTED]
    if not executed:
        return 0.0
    began = min(one.at["created"] for one in found)
    seconds = (max(one.at["ended"] for one in executed) - began).total_seconds()
    return len(executed) / seconds if seconds > 0 else 0.0


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """ours / theirs; None where there is nothing to divide by."""
    return ours / theirs if ours is not None and theirs else None
