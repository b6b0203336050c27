"""A sheet: named columns with rows, and the same sheet as a table for eyes, as CSV and as Parquet.

CSV and Parquet keep every digit; the table rounds money to two decimals.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from enum import Enum, auto
from typing import TYPE_CHECKING

from tradekit.decimals import CONTEXT, plain

if TYPE_CHECKING:
    from rich.table import Table

Cell = str | Decimal | datetime | int | None
_CENTS = Decimal("0.01")
# A spreadsheet takes a text that begins with one of these for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Kind(Enum):
    """What a column holds: text, an exact amount, money (an amount that eyes want in cents), a time, a count."""

    TEXT = auto()
    AMOUNT = auto()
    MONEY = auto()
    TIME = auto()
    COUNT = auto()


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows of as many cells as there are columns; None is an empty cell."""

    name: str
    columns: tuple[tuple[str, Kind], ...]
    rows: Sequence[tuple[Cell, ...]]


def as_csv(sheet: Sheet, *, quote_all: bool = False) -> bytes:
    """UTF-8 with a header; times in UTC, amounts with every digit."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerow([name for name, _ in sheet.columns])
    writer.writerows([_plain_cell(cell) for cell in row] for row in sheet.rows)
    return text.getvalue().encode()


def as_parquet(sheet: Sheet) -> bytes:
    """Amounts as DECIMAL(38, 18), times as microseconds in UTC."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    amount = pa.decimal128(38, 18)
    types = {
        Kind.TEXT: pa.string(),
        Kind.AMOUNT: amount,
        Kind.MONEY: amount,
        Kind.TIME: pa.timestamp("us", "UTC"),
        Kind.COUNT: pa.int64(),
    }
    arrays = [
        pa.array([_at_scale(row[index]) for row in sheet.rows], types[kind])
        for index, (_, kind) in enumerate(sheet.columns)
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays, names=[name for name, _ in sheet.columns]), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def as_table(sheet: Sheet, columns: int) -> "Table":
    """The first columns, for a terminal."""
    from rich.table import Table

    from cli.console import escape

    table = Table(box=None, padding=(0, 2), header_style="dim")
    shown = sheet.columns[:columns]
    for name, kind in shown:
        # Folded where the terminal is narrow: a number that is cut would be another number.
        table.add_column(name, justify="left" if kind in (Kind.TEXT, Kind.TIME) else "right", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(escape(_for_eyes(cell, kind)) for cell, (_, kind) in zip(row, shown, strict=False)))
    return table


def cents(amount: Decimal) -> str:
    """Money for eyes; more digits are in the files."""
    with localcontext(CONTEXT):
        return f"{amount.quantize(_CENTS):,f}"


def _for_eyes(cell: Cell, kind: Kind) -> str:
    if isinstance(cell, Decimal) and kind is Kind.MONEY:
        return cents(cell)
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    return _plain_cell(cell)


def _plain_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return plain(cell)
    if isinstance(cell, datetime):
        return cell.isoformat().replace("+00:00", "Z")
    text = str(cell)
    return f"'{text}" if text.startswith(_FORMULA) and isinstance(cell, str) else text


def _at_scale(cell: Cell) -> Cell:
    # An exponent above zero would count as a scale below it, which pyarrow does not bring to ours.
    return Decimal(format(cell, "f")) if isinstance(cell, Decimal) else cell
