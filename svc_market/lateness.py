"""How long the market has been behind the bars that the exchange's time says have closed.

An exchange can tell its time and no candles: then the watermark stands still while every answer looks well. How far it is behind
counts in bars of the exchange's time, and how long it may be in machine time, so that neither a bar of a second nor one of an
hour is taken for a fault. Pure.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

LATE_SECONDS = 60.0
# A start that finds more bars missing is late until they are there.
START_BARS = 1


@dataclass
class Lateness:
    """What the polls have seen; times are of a steady clock, in seconds."""

    granularity: int
    late_seconds: float = LATE_SECONDS
    watermark: datetime | None = None
    newest_close: datetime | None = None
    _since: float | None = None

    def observe(self, monotonic: float, newest_close: datetime, watermark: datetime | None) -> None:
        """A poll's look, before it fetches. A watermark that has moved starts the time anew, also where it is still behind."""
        first, moved = self.newest_close is None, watermark != self.watermark
        self.newest_close, self.watermark = newest_close, watermark
        if not self.bars_behind:
            self._since = None
        elif first and self.bars_behind > START_BARS:
            self._since = monotonic - self.late_seconds
        elif moved or self._since is None:
            self._since = monotonic

    @property
    def bars_behind(self) -> int:
        """Closed bars that the watermark has not reached; 0 before the first watermark, which is a fault of its own."""
        if self.watermark is None or self.newest_close is None:
            return 0
        return max((self.newest_close - self.watermark) // timedelta(seconds=self.granularity), 0)

    def late_for(self, monotonic: float) -> float | None:
        """Seconds for which it has been behind; None while that is not longer than it may be."""
        if self._since is None or monotonic - self._since < self.late_seconds:
            return None
        return monotonic - self._since
