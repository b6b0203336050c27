"""Parquet and Feather files: product_id, granularity and start in every row, or freqtrade's date with the rest in the name.

Read column-wise, a bounded slice at a time. Columns are checked before the first row is given, and the file is read to
its end once, so that a damaged file gives no row at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candle_files import names
from candle_files.checks import PRODUCT_ID
from candle_files.numbers import values_of
from candle_files.rows import (
    GRANULARITY_UNSUPPORTED,
    TIME_UNREADABLE,
    Aside,
    AsideKind,
    Candle,
    Hints,
    Row,
    RowFault,
    UnusableFile,
    fault_of,
)
from tradekit.bars import GRANULARITY_NAMES

_VALUES = ("open", "high", "low", "close", "volume")
_OWN = ("product_id", "granularity", "start", *_VALUES)
_FREQTRADE = ("date", *_VALUES)
_SLICE_ROWS = 2000
_BATCH_ROWS = 16_384
MOST_ROWS = 50_000_000
MOST_UNPACKED_BYTES = 4 << 30
# What the libraries raise for content that they cannot read; all of it is the file's fault.
_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, NotImplementedError, OverflowError)


class Parquet:
    name = "parquet"
    endings: tuple[str, ...] = (".parquet", ".pq")
    looks = f"columns {', '.join(_OWN)}, or {', '.join(_FREQTRADE)}"

    def matches(self, head: bytes) -> bool:
        return head.startswith(b"PAR1")

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        with _readable("Parquet"), pq.ParquetFile(path) as file:
            columns = _checked(file.schema_arrow)
            facts = file.metadata
            unpacked = sum(facts.row_group(at).total_byte_size for at in range(facts.num_row_groups))
            if facts.num_rows > MOST_ROWS or unpacked > MOST_UNPACKED_BYTES:
                words = f"{facts.num_rows:,} rows of {unpacked:,} bytes are too many; split the file"
                raise UnusableFile("file_chunk", "TOO_LARGE", words)
            for _ in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns)):
                pass
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns)):
                yield from _rows(batch, columns, hints)


class Feather:
    name = "feather"
    endings: tuple[str, ...] = (".feather", ".arrow")
    looks = Parquet.looks

    def matches(self, head: bytes) -> bool:
        return head.startswith(b"ARROW1")

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        with _readable("Feather"), pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            columns = _checked(file.schema)
            for index in range(file.num_record_batches):
                file.get_batch(index)
            for index in range(file.num_record_batches):
                yield from _rows(file.get_batch(index), columns, hints)


@contextmanager
def _readable(kind: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        words = " ".join(str(error).split())
        raise UnusableFile("file_chunk", "DAMAGED", f"the {kind} file cannot be read: {words}"[:240]) from error


def _checked(schema: Any) -> tuple[str, ...]:
    """The columns to read. UnusableFile names the column that is missing, there twice, or of a type that it cannot have."""
    columns = _OWN if "product_id" in schema.names or "start" in schema.names else _FREQTRADE
    missing = [name for name in columns if name not in schema.names]
    if missing:
        found = ", ".join(schema.names)
        raise UnusableFile(
            "file_chunk", "COLUMNS", f"columns {', '.join(missing)} are missing; the file has {found}"[:240]
        )
    for name in columns:
        count = schema.names.count(name)
        if count > 1:
            words = f"the column {name} is there {count} times; leave one"
            raise UnusableFile("file_chunk", "COLUMN_REPEATED", words)
        _require_type(name, schema.field(name).type)
    return columns


def _require_type(name: str, kind: Any) -> None:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = pa.types.is_string(plain) or pa.types.is_large_string(plain)
    if name in ("start", "date"):
        if not pa.types.is_timestamp(kind) or kind.tz is None:
            rule = "TIME_ZONE" if pa.types.is_timestamp(kind) else "COLUMN_TYPE"
            raise UnusableFile("file_chunk", rule, f"column {name} is {kind}; must be a timestamp with a zone")
    elif name in _VALUES:
        numeric = pa.types.is_floating(plain) or pa.types.is_integer(plain) or pa.types.is_decimal(plain)
        if not (numeric or text):
            raise UnusableFile("file_chunk", "COLUMN_TYPE", f"column {name} is {kind}; must hold numbers"[:240])
    elif not text:
        raise UnusableFile("file_chunk", "COLUMN_TYPE", f"column {name} is {kind}; must hold text"[:240])


def _rows(batch: Any, columns: tuple[str, ...], hints: Hints) -> Iterator[Row]:
    if columns is _OWN and hints.only:
        products = batch.column("product_id")
        if pa.types.is_dictionary(products.type):
            products = products.dictionary_decode()
        whole = batch.num_rows
        batch = batch.filter(pc.is_in(products, pa.array(sorted(hints.only), products.type)))
        if whole > batch.num_rows:
            yield Aside(AsideKind.LEFT_OUT, whole - batch.num_rows)
    read = _own_row if columns is _OWN else _Named(hints).row
    for offset in range(0, batch.num_rows, _SLICE_ROWS):
        part = batch.slice(offset, _SLICE_ROWS)
        for record in zip(*(_cells(part.column(name)) for name in columns), strict=True):
            yield read(record)


def _cells(column: Any) -> list[Any]:
    """Times as whole microseconds, everything else as it stands; finer times would be cut, so they are refused."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]
    if pa.types.is_floating(column.type) and column.type.bit_width < 64:
        # The shortest text of a shorter float; widened to 64 bits it would have digits that it does not carry.
        return column.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]


def _own_row(record: tuple[Any, ...]) -> Row:
    product_id, name, start, *values = record
    try:
        if product_id is None:
            raise RowFault(PRODUCT_ID, "the product is missing")
        granularity = names.parse_length(name or "")
        if granularity not in GRANULARITY_NAMES:
            raise RowFault(GRANULARITY_UNSUPPORTED, f"candles of {name!r} cannot be used"[:80])
        return Candle(product_id, granularity, _moment(start), *values_of(tuple(values)))
    except RowFault as fault:
        return fault_of(fault, product_id or "", record)


class _Named:
    """Rows of a file whose name says product and candle length."""

    def __init__(self, hints: Hints) -> None:
        self._product_id, self._granularity = names.product_of(hints), names.granularity_of(hints)
        self._wanted = hints.wants(self._product_id)

    def row(self, record: tuple[Any, ...]) -> Row:
        if not self._wanted:
            return Aside(AsideKind.LEFT_OUT)
        try:
            return Candle(self._product_id, self._granularity, _moment(record[0]), *values_of(record[1:]))
        except RowFault as fault:
            return fault_of(fault, self._product_id, record)


def _moment(microseconds: object) -> datetime:
    if not isinstance(microseconds, int):
        raise RowFault(TIME_UNREADABLE, "the time is missing")
    try:
        return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
    except (OverflowError, OSError, ValueError):
        raise RowFault(TIME_UNREADABLE, "the time is outside of the calendar") from None
