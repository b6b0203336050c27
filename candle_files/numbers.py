"""Reads the numbers and times of a row. Numbers stay exact, but for the noise of binary floats.

A float64 carries 15 decimal digits; what a tool that reckons in floats writes beyond them is noise, such as
2.6140000000000003e-05 for 0.00002614. A time tells its unit by its size, and is never taken in a machine's own zone.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from math import isfinite

from candle_files.rows import NO_VALUES, NOT_A_NUMBER, TIME_UNREADABLE, TIME_WITHOUT_ZONE, RowFault
from tradekit.bars import EARLIEST, LATEST

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NUMBER = 64
_FLOAT_DIGITS = 15
# The most digits that a float's own text has.
_FLOAT_TEXT_DIGITS = 17
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DAY_SECONDS = 86_400
_FIRST_SECOND = int(EARLIEST.timestamp())
_LAST_SECOND = int(LATEST.timestamp())
# From the first second to the last one is a factor of four, from unit to unit of a thousand: no number fits two.
_UNITS = (1, 1_000, 1_000_000, 1_000_000_000)


def number(value: object) -> Decimal:
    """The exact number. NaN and infinities pass: a later rule names them. RowFault if it is none."""
    if type(value) is float:
        return Decimal(f"{value:.15g}") if isfinite(value) else Decimal(value)
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise RowFault(NOT_A_NUMBER, f"{value!r} is no number"[:80])


def _of_text(text: str) -> Decimal:
    if len(text) > _LONGEST_NUMBER:
        raise RowFault(NOT_A_NUMBER, f"a value of {len(text)} characters is longer than any price")
    if not _NUMBER.fullmatch(text):
        if _NO_NUMBER.fullmatch(text):
            return Decimal(text)
        raise RowFault(NOT_A_NUMBER, f"{text!r} is no number" if text else "a value is missing")
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise RowFault(NOT_A_NUMBER, f"{text!r} is no number") from None
    return without_noise(exact) if len(text) > _FLOAT_DIGITS else exact


def without_noise(exact: Decimal) -> Decimal:
    """The number without the noise of a float, if it is the text of one: 16 or 17 digits that only a float writes."""
    if not _FLOAT_DIGITS < len(exact.as_tuple().digits) <= _FLOAT_TEXT_DIGITS:
        return exact
    try:
        near = float(exact)
    except OverflowError:
        return exact
    return Decimal(f"{near:.15g}") if isfinite(near) and Decimal(repr(near)) == exact else exact


def is_empty(value: object) -> bool:
    """A value that says there is none: nothing, or NaN."""
    if isinstance(value, str):
        return value.strip().lower() in ("", "nan", "null", "none", "na", "n/a")
    return value is None or value != value


def values_of(values: tuple[object, ...] | list[str]) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
    """Open, high, low, close, volume. RowFault for the first that is no number, or if there is none at all."""
    try:
        first, high, low, close, volume = values
        return number(first), number(high), number(low), number(close), number(volume)
    except RowFault:
        if all(is_empty(value) for value in values):
            raise RowFault(NO_VALUES, "the row has no values") from None
        raise


def time_of(value: object, granularity: int) -> datetime:
    """The open time that a row tells: a UNIX number of any usual unit, or ISO 8601 with an offset.

    A day alone is midnight UTC in files of daily candles. RowFault otherwise.
    """
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return _iso(text, granularity)
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else text
    try:
        return _unix(value if isinstance(value, int) and not isinstance(value, bool) else number(value))
    except RowFault as fault:
        raise RowFault(TIME_UNREADABLE, f"the time cannot be read, {fault.words}") from None


def _unix(count: int | Decimal) -> datetime:
    if isinstance(count, int) or count.is_finite():
        for per_second in _UNITS:
            if _FIRST_SECOND * per_second <= count < _LAST_SECOND * per_second:
                return _at(count, per_second)
    words = f"{str(count)[:24]} is no UNIX time from {EARLIEST.year} to {LATEST.year - 1} in s, ms, us or ns"
    raise RowFault(TIME_UNREADABLE, words)


def _at(count: int | Decimal, per_second: int) -> datetime:
    microseconds, rest = divmod(count * 1_000_000, per_second)
    if rest or microseconds != int(microseconds):
        raise RowFault(TIME_UNREADABLE, f"{count} is finer than a microsecond")
    return _EPOCH + timedelta(microseconds=int(microseconds))


def _iso(text: str, granularity: int) -> datetime:
    if granularity == _DAY_SECONDS and _DAY.fullmatch(text):
        text += "T00:00:00Z"
    try:
        moment = datetime.fromisoformat(text[:-4] + "+00:00" if text.endswith(" UTC") else text)
        zoned = moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        what = f"{text[:40]!r} is no ISO 8601 time" if text else "it is missing"
        raise RowFault(TIME_UNREADABLE, f"the time cannot be read, {what}") from None
    if zoned is None:
        raise RowFault(TIME_WITHOUT_ZONE, f"the time {text[:40]} has no offset, so it could be any zone's")
    return zoned
