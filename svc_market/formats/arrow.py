"""Reads Arrow record batches column-wise into rows; shared by Parquet and Feather."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from svc_market.formats.base import UnusableFile

VALUES = ("open", "high", "low", "close", "volume")
_ROWS = 2000


def require(schema: Any, columns: tuple[str, ...], time_column: str) -> None:
    """UnusableFile unless the columns exist and the time is a timestamp that says UTC or another zone."""
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise UnusableFile(
            "file_chunk", "COLUMNS", f"columns {', '.join(missing)} are missing; found {schema.names}"[:240]
        )
    kind = schema.field(time_column).type
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        raise UnusableFile(
            "file_chunk", "TIME_ZONE", f"column {time_column} is {kind}; must be a timestamp with a zone"
        )


def records(batch: Any, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Rows of a batch as tuples, a bounded slice at a time."""
    for offset in range(0, batch.num_rows, _ROWS):
        part = batch.slice(offset, _ROWS)
        yield from zip(*(_values(part.column(name)) for name in columns), strict=True)


def _values(column: Any) -> list[Any]:
    """Times as whole microseconds, everything else as it stands; finer times would be cut, so they are refused."""
    if pa.types.is_timestamp(column.type):
        try:
            return column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]
        except pa.ArrowInvalid as error:
            raise UnusableFile("file_chunk", "TIME", f"times cannot be read: {error}"[:200]) from error
    return column.to_pylist()  # type: ignore[no-any-return]


def moment(microseconds: object) -> datetime:
    """Aware UTC time; ValueError for a null or a time outside of the calendar."""
    if not isinstance(microseconds, int):
        raise ValueError("the time is missing")
    try:
        return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
    except (OverflowError, OSError):
        raise ValueError("the time is outside of the calendar") from None
