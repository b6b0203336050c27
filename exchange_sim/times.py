"""Market time as whole microseconds since 1970, and its RFC 3339 text.

Integers, because bars, fills and the clock must land on exactly the same instant after any
number of steps, restarts and conversions.
"""

from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)


def iso(at_us: int) -> str:
    when = _EPOCH + timedelta(microseconds=at_us)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> int:
    """Microseconds of an RFC 3339 time; ValueError when it is no time or has no offset."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"time without offset: {text}")
    return to_us(when.astimezone(UTC))
