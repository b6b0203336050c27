"""What every file format gives, and the small readers that they share.

A format gives rows in file order, lazily; numbers stay exact: text as it stands, a float as its shortest text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Protocol

from svc_market.candles import ROW_TEXT_LENGTH, UNREADABLE, Candle, Refusal
from tradekit.products import is_product_id

Row = Candle | Refusal
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NUMBER = 64
# BASE_QUOTE and a time frame, as freqtrade and ccxt users name files: ETH_USD-1h, 1INCH_USD_1h.
_PAIR_AND_FRAME = re.compile(r"(?:^|[-_])([A-Z0-9]{1,12})[_-]([A-Z0-9]{2,12})[-_](\d+[mhd])$")
_FRAME = re.compile(r"[-_](\d+[mhd])(?=$|[-_.])")
_FRAME_SECONDS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86400}


class UnusableFile(Exception):
    """The whole file cannot be read; the caller must mend or rename it. `field` is the request's field to look at.

    `more` are further sentences, told one by one: each reaches the caller whole where one long text would be cut.
    """

    def __init__(self, field: str, rule: str, description: str, more: Sequence[str] = ()) -> None:
        super().__init__(description)
        self.field = field
        self.rule = rule
        self.descriptions = (description, *more)


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of a file beside its content; None where the caller did not say."""

    file_name: str
    product_id: str | None
    granularity: int | None

    def product(self) -> str:
        """The product of a file that does not carry it: told, or read from the file's name."""
        pair = _PAIR_AND_FRAME.search(Path(self.file_name).stem)
        product_id = self.product_id or (f"{pair[1]}-{pair[2]}" if pair else None)
        if product_id is None or not is_product_id(product_id):
            raise UnusableFile("open.product_id", "REQUIRED", "the file does not carry its product; send it as BTC-USD")
        return product_id

    def seconds(self) -> int:
        """The granularity of a file that does not carry it: told, or read from the file's name."""
        found = _FRAME.search(Path(self.file_name).stem)
        granularity = self.granularity or (_FRAME_SECONDS.get(found[1]) if found else None)
        if granularity is None:
            raise UnusableFile("open.granularity", "REQUIRED", "the file does not carry its candle length; send it")
        return granularity


class Format(Protocol):
    """One file format. `looks` says in words what its content begins with."""

    name: str
    ending: str
    looks: str

    def matches(self, head: bytes) -> bool:
        """Whether a file with this beginning is of the format."""

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        """The file's rows in its order; UnusableFile if it cannot be read as a whole."""


def number(value: object) -> Decimal:
    """The exact number; ValueError if it is none. NaN and infinities pass: a later rule names them."""
    if type(value) is float:
        return Decimal(repr(value))
    if isinstance(value, bool) or not isinstance(value, Decimal | float | int | str):
        raise ValueError(f"{value!r} is no number")
    if isinstance(value, Decimal):
        return value
    text = value.strip() if isinstance(value, str) else repr(value)
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("is longer than any price")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None


def from_unix(value: object, per_second: int = 1) -> datetime:
    """The time of a UNIX number, exact to the microsecond; ValueError outside of the calendar."""
    count = number(value)
    if not count.is_finite():
        raise ValueError("the time is not finite")
    try:
        return _EPOCH + timedelta(microseconds=int(count * 1_000_000 / per_second))
    except OverflowError:
        raise ValueError("the time is outside of the calendar") from None


def candle(product_id: str, granularity: int, start: datetime, values: Sequence[object]) -> Candle:
    """A candle of open, high, low, close and volume; ValueError if one is no number."""
    if len(values) != 5:
        raise ValueError("a candle has five values")
    prices = [number(value) for value in values]
    return Candle(product_id, granularity, start, prices[0], prices[1], prices[2], prices[3], prices[4])


def unreadable(product_id: str, row: object) -> Refusal:
    """A row that is no candle at all."""
    text = row if isinstance(row, str) else repr(row)
    return Refusal(UNREADABLE, product_id, "".join(filter(str.isprintable, text))[:ROW_TEXT_LENGTH])
