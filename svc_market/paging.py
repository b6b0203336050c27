"""Plans the requests for a period of candles and puts their answers together.

An exchange leaves out bars without trades and shows the running bar as if it were done; after this file there is one clean
ascending series.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from tradekit.bars import bar_close, bar_start, is_on_grid

# Most bars of one window, which is fetched at once and stored in one transaction.
MOST_BUCKETS = 300


class Starts(Protocol):
    """Anything that opens at a time."""

    @property
    def start(self) -> datetime: ...


Bar = TypeVar("Bar", bound=Starts)


@dataclass(frozen=True, slots=True)
class Span:
    """Bars that open at or after `start` and before `end`; both on the grid."""

    start: datetime
    end: datetime

    def bars(self, granularity: int) -> int:
        return max(int((self.end - self.start).total_seconds()) // granularity, 0)


def grid_span(start: datetime, end: datetime, granularity: int) -> Span:
    """The whole bars that open within [start, end)."""
    return Span(_ceiling(start, granularity), _ceiling(end, granularity))


def _ceiling(moment: datetime, granularity: int) -> datetime:
    if is_on_grid(moment, granularity):
        return moment
    return bar_close(bar_start(moment, granularity), granularity)


def pages(span: Span, granularity: int, most: int = MOST_BUCKETS) -> list[Span]:
    """The span cut into requests, oldest first, each of at most `most` buckets."""
    step = timedelta(seconds=granularity * most)
    found, start = [], span.start
    while start < span.end:
        end = min(start + step, span.end)
        found.append(Span(start, end))
        start = end
    return found


def merge(answers: Iterable[Sequence[Bar]], span: Span) -> list[Bar]:
    """One series, ascending and unique, of answers that may overlap, run over the span and come in any order.

    Of two answers about one bar the later one counts: it was given later.
    """
    by_start = {bar.start: bar for answer in answers for bar in answer if span.start <= bar.start < span.end}
    return [by_start[start] for start in sorted(by_start)]


def closed(bars: Iterable[Bar], granularity: int, now: datetime) -> list[Bar]:
    """Without bars that are still running at market time `now`."""
    return [bar for bar in bars if bar_close(bar.start, granularity) <= now]


def gaps(starts: Sequence[datetime], span: Span, granularity: int) -> list[Span]:
    """What is missing of the span; `starts` ascending, on the grid, inside the span."""
    missing, expected = [], span.start
    for start in (*starts, span.end):
        if start > expected:
            missing.append(Span(expected, start))
        expected = bar_close(start, granularity)
    return missing
