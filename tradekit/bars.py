"""The UTC grid of bars: granularities and the times of a bar.

A bar is [start, start + g). Its `as_of` is its close, the earliest moment a decision may use it.
"""

from datetime import UTC, datetime, timedelta

# No coin was traded before its first block; a time outside of these is one that was read wrong.
EARLIEST = datetime(2009, 1, 3, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

# Seconds of each granularity, by the name that the exchange, files and contracts use.
GRANULARITY_SECONDS = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTE": 300,
    "FIFTEEN_MINUTE": 900,
    "ONE_HOUR": 3600,
    "ONE_DAY": 86400,
}
GRANULARITY_NAMES = {seconds: name for name, seconds in GRANULARITY_SECONDS.items()}


def utc(seconds: int) -> datetime:
    """Aware UTC time of a UNIX second."""
    return datetime.fromtimestamp(seconds, UTC)


def unix(moment: datetime) -> int:
    """UNIX second of an aware time without a fraction of a second."""
    return int(moment.timestamp())


def is_on_grid(moment: datetime, granularity: int) -> bool:
    """True if a bar opens at `moment`."""
    return moment.microsecond == 0 and unix(moment) % granularity == 0


def bar_start(moment: datetime, granularity: int) -> datetime:
    """Open time of the bar that holds `moment`."""
    return utc(unix(moment) // granularity * granularity)


def bar_close(start: datetime, granularity: int) -> datetime:
    """Close time of the bar that opens at `start`."""
    return start + timedelta(seconds=granularity)
