"""The life of a recommendation: when it ends, and the one reading of whether it has.

A life is wall seconds of the database in live and simulated mode, market time in a replay. Only entries end by it. An exit
stays right however late it comes, so a reader may flag one whose life is over and never end it for that.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from meshkit.errors import Unavailable
from tradekit.states import LifeClock


class LifeState(Enum):
    """Where a life stands.

    UNKNOWN: market time measures it and the market stage has published none yet. It means the same to every reader: an
    entry is neither decided, nor sent, nor ended; it waits, and is asked for again.
    """

    ALIVE = auto()
    OVER = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Life:
    """A life at one moment. `now` is that moment by the life's own clock, None where its state is UNKNOWN.

    `seconds_left` is machine time; it is infinite where market time measures the life.
    """

    state: LifeState
    now: datetime | None
    seconds_left: float

    @property
    def is_over(self) -> bool:
        """True from the very moment of its end."""
        return self.state is LifeState.OVER

    def require_known(self) -> None:
        """Raises Unavailable (STALE_DATA) where the state is UNKNOWN; every reader of an entry calls it first."""
        if self.state is LifeState.UNKNOWN:
            raise Unavailable("STALE_DATA", "the market has not published its time, so no life can be measured by it")


def life_at(clock: LifeClock, end: datetime, machine: datetime, market: datetime | None) -> Life:
    """The life that ends at `end` of its own clock, at this machine time and the market's watermark (None: no candle yet)."""
    by_machine = clock is LifeClock.MACHINE
    now = machine if by_machine else market
    left = (end - machine).total_seconds() if by_machine else math.inf
    if now is None:
        return Life(LifeState.UNKNOWN, None, left)
    return Life(LifeState.OVER if now >= end else LifeState.ALIVE, now, left)


def life_end(clock: LifeClock, machine: datetime, market: datetime, seconds: int) -> datetime:
    """The end of a life that begins now and lasts `seconds` of its own clock."""
    return (machine if clock is LifeClock.MACHINE else market) + timedelta(seconds=seconds)


def is_empty(clock: LifeClock, as_of: datetime, end: datetime) -> bool:
    """Whether a life ends before the data it rests on. Only a life by market time can be compared with `as_of`: a machine
    life may trail a simulated market that runs faster than the wall."""
    return life_at(clock, end, as_of, as_of).is_over and clock is LifeClock.MARKET
