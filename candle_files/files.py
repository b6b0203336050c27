"""Opens a candle file: unpacks it, recognises its format by its ending and its first bytes, both, and gives its rows.

A new format is a file here with one class, and a line in FORMATS; a new layout of CSV is a line in csv_layout.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from candle_files.arrow_table import Feather, Parquet
from candle_files.csv_table import CsvTable
from candle_files.json_list import JsonList
from candle_files.rows import Format, Hints, Row, UnusableFile
from candle_files.unpack import unpacked

FORMATS: tuple[Format, ...] = (Parquet(), CsvTable(), Feather(), JsonList())
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file whose format is known. `rows` may be read as often as wanted, while the file is open."""

    format: str
    _kind: Format
    _path: Path
    _hints: Hints

    def rows(self) -> Iterator[Row]:
        """Rows in the file's order. UnusableFile where it turns out to be damaged as a whole."""
        return self._kind.rows(self._path, self._hints)


@contextmanager
def opened(path: Path, hints: Hints) -> Iterator[OpenedFile]:
    """The file, while the block lasts. UnusableFile if no format fits, naming the supported ones."""
    with unpacked(path, hints.file_name) as (inner, name):
        kind, hints = detect(inner, name), replace(hints, file_name=name)
        layout = kind.layout(inner).name if isinstance(kind, CsvTable) else kind.name
        yield OpenedFile(layout, kind, inner, hints)


def detect(path: Path, file_name: str) -> Format:
    """The format of a file that is called `file_name`."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise UnusableFile("file_chunk", "EMPTY", "the file is empty")
    ending = PurePath(file_name).suffix.lower()
    called = [known for known in FORMATS if ending in known.endings]
    for candidate in called:
        if candidate.matches(head):
            return candidate
    if called:
        words = f"the file is called {ending} and does not begin as one; it is damaged or has another format"
        raise UnusableFile("file_name", "CONTENT", words)
    supported = [f"supported: {', '.join(known.endings)} with {known.looks}"[:250] for known in FORMATS]
    packed = "each of them also packed by itself as .gz or .zip"
    raise UnusableFile(
        "file_name", "FORMAT", f"{PurePath(file_name).name[:40]} is no known candle file", [*supported, packed]
    )
