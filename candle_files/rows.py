"""What a candle file is made of: candles, rows that are none, and lines that were never meant to be one.

Every line of a text file, and every row of a file without lines, becomes exactly one of the three, so that the counts
of an import or a replay add up to the file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Protocol

ROW_TEXT_LENGTH = 500

# Why a row is no candle; the rules that a candle may break are in checks.py.
DAMAGED = "DAMAGED"
TIME_UNREADABLE = "TIME_UNREADABLE"
TIME_WITHOUT_ZONE = "TIME_WITHOUT_ZONE"
NOT_A_NUMBER = "NOT_A_NUMBER"
NO_VALUES = "NO_VALUES"
GRANULARITY_UNSUPPORTED = "GRANULARITY_UNSUPPORTED"


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar as somebody gave it. Prices in quote currency, volume in base units, granularity in seconds."""

    product_id: str
    granularity: int
    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def key(self) -> tuple[str, int, datetime]:
        """What makes it the same bar."""
        return (self.product_id, self.granularity, self.start)

    @property
    def values(self) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
        return (self.open, self.high, self.low, self.close, self.volume)

    def text(self) -> str:
        """The row for people, bounded."""
        values = ",".join(str(value) for value in self.values)
        return f"{self.product_id},{self.granularity},{self.start.isoformat()},{values}"[:ROW_TEXT_LENGTH]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is not stored: reason code, product where it is known, and the row as text."""

    code: str
    product_id: str
    text: str


class AsideKind(StrEnum):
    """Lines that are no rows: headers and banners, and blank ones; and rows of products that nobody asked for."""

    HEADER = "header"
    BLANK = "blank"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Aside:
    """Lines that are neither stored nor refused."""

    kind: AsideKind
    count: int = 1


Row = Candle | Refusal | Aside


class RowFault(Exception):
    """One row cannot be read: the reason's code, and the rule in words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class UnusableFile(Exception):
    """The whole file cannot be read; the caller must mend or rename it. `field` is the import request's field to look at.

    `more` are further sentences, told one by one: each reaches the caller whole where one long text would be cut.
    """

    def __init__(self, field: str, rule: str, description: str, more: Sequence[str] = ()) -> None:
        super().__init__(description)
        self.field = field
        self.rule = rule
        self.descriptions = (description, *more)


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of a file beside its content; None where the caller did not say.

    `file_name` names it to people and may say product and candle length; rows of products outside of `only` (empty: all)
    are left out before they are read.
    """

    file_name: str
    product_id: str | None = None
    granularity: int | None = None
    only: frozenset[str] = frozenset()

    def wants(self, product_id: str) -> bool:
        return not self.only or product_id in self.only


class Format(Protocol):
    """One kind of file. `looks` says in words what its content begins with."""

    name: str
    endings: tuple[str, ...]
    looks: str

    def matches(self, head: bytes) -> bool:
        """Whether a file with this beginning is of the format."""

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        """The file's rows in its order; UnusableFile if it cannot be read as a whole."""


def fault_of(fault: RowFault, product_id: str, row: object) -> Refusal:
    """The row with what is wrong with it; control characters do not reach whoever reads it."""
    text = f"{fault.words}: {row if isinstance(row, str) else repr(row)}"
    return Refusal(fault.code, product_id, "".join(filter(str.isprintable, text))[:ROW_TEXT_LENGTH])
