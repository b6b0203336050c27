"""Reads a whole candle file into one ascending series for each product, for those that need all of it at once.

A replay, the simulated exchange and a training read the same rows by the same rules as an import, so that a file is
either good for all of them or refused by all of them in the same words.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from candle_files.account import Account
from candle_files.checks import CONFLICT, fault
from candle_files.files import opened
from candle_files.rows import Aside, Candle, Hints, Refusal, Row, UnusableFile
from tradekit.bars import GRANULARITY_NAMES, unix

# A number of so many characters has no more digits than a float carries.
_FLOAT_DIGITS = 15


class Column:
    """Exact numbers in the room of floats: what a float does not carry is kept beside it."""

    def __init__(self, values: Iterable[Decimal] = ()) -> None:
        self.floats = array("d")
        self._exact: dict[int, Decimal] = {}
        for value in values:
            self.append(value)

    def append(self, value: Decimal) -> None:
        near = float(value)
        if len(str(value)) > _FLOAT_DIGITS and _decimal(near) != value:
            self._exact[len(self.floats)] = value
        self.floats.append(near)

    def __getitem__(self, index: int) -> Decimal:
        exact = self._exact.get(index)
        return exact if exact is not None else _decimal(self.floats[index])


def _decimal(near: float) -> Decimal:
    return Decimal(f"{near:.15g}")


@dataclass(frozen=True, slots=True)
class Series:
    """Good candles of one product, ascending and unique; `starts` are UNIX seconds beside the value columns."""

    starts: list[int]
    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column

    @property
    def columns(self) -> tuple[Column, Column, Column, Column, Column]:
        return (self.open, self.high, self.low, self.close, self.volume)


@dataclass(frozen=True, slots=True)
class Candles:
    """A file that was read: its series by product, one granularity in seconds, and what became of every line."""

    format: str
    granularity: int
    series: dict[str, Series]
    account: Account


def load(path: Path, product_ids: Iterable[str] = ()) -> Candles:
    """The candles of these products, or of all.

    Raises UnusableFile: unreadable, none of a product, or several lengths. Rows that break a rule are in the account; how
    many are too many is the caller's to decide.
    """
    wanted = frozenset(product_ids)
    account, found = Account(), _Found()
    with opened(path, Hints(path.name, only=wanted)) as file:
        for row in file.rows():
            found.take(row, account)
    lengths = sorted({candle_length for _, candle_length in found.products})
    if not lengths:
        names = ", ".join(sorted(wanted)) or "any product"
        words = f"{path.name} holds no candle of {names}"
        raise UnusableFile("file_chunk", "NO_CANDLES", words, tuple(account.reasons()))
    if len(lengths) != 1:
        told = " and ".join(GRANULARITY_NAMES[length] for length in lengths)
        raise UnusableFile("file_chunk", "GRANULARITY", f"{path.name} must hold candles of one length; it has {told}")
    return Candles(file.format, lengths[0], found.series(), account)


class _Growing:
    """Candles of one product in the order of the file, with the place of each start."""

    def __init__(self) -> None:
        self.places: dict[int, int] = {}
        self.columns = (Column(), Column(), Column(), Column(), Column())

    def series(self) -> Series:
        starts = sorted(self.places)
        if starts == list(self.places):
            return Series(starts, *self.columns)
        order = [self.places[start] for start in starts]
        return Series(starts, *(Column(column[place] for place in order) for column in self.columns))


class _Found:
    """Candles as they come, in any order."""

    def __init__(self) -> None:
        self.products: dict[tuple[str, int], _Growing] = {}

    def take(self, row: Row, account: Account) -> None:
        if isinstance(row, Aside):
            account.put_aside(row)
        elif isinstance(row, Refusal):
            account.refuse([row])
        elif (code := fault(row, None)) is not None:
            account.refuse([Refusal(code, row.product_id, row.text())])
        else:
            self._add(row, account)

    def _add(self, candle: Candle, account: Account) -> None:
        key = (candle.product_id, candle.granularity)
        growing = self.products.get(key)
        if growing is None:
            growing = self.products[key] = _Growing()
        start, new = unix(candle.start), len(growing.places)
        place = growing.places.setdefault(start, new)
        if place == new:
            for column, value in zip(growing.columns, candle.values, strict=True):
                column.append(value)
            account.stored += 1
        elif tuple(column[place] for column in growing.columns) == candle.values:
            account.unchanged += 1
        else:
            account.refuse([Refusal(CONFLICT, candle.product_id, candle.text())])

    def series(self) -> dict[str, Series]:
        return {
            product_id: growing.series()
            for (product_id, _), growing in sorted(self.products.items(), key=lambda one: one[0])
        }
