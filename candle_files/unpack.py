"""Unpacks gzip and zip, bounded: a small file that unpacks to a disk full is refused before it has filled one.

The sizes that an archive states are not believed; what really comes out is counted.
"""

import gzip
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from candle_files.rows import UnusableFile

MOST_UNPACKED_BYTES = 1 << 30
_MOST_MEMBERS = 100_000
_CHUNK = 1 << 20
_GZIP, _ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")
_BROKEN = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class Readable(Protocol):
    """What gives bytes."""

    def read(self, size: int, /) -> bytes: ...


@contextmanager
def unpacked(path: Path, file_name: str) -> Iterator[tuple[Path, str]]:
    """The file itself, or the one inside of it, with its name; the copy lasts as long as the block."""
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(_GZIP):
        with _copy_of_gzip(path) as copy:
            yield copy, _without(file_name, ".gz")
    elif head in _ZIP:
        with _copy_of_zip(path) as (copy, name):
            yield copy, name
    elif (ending := PurePosixPath(file_name).suffix.lower()) in (".gz", ".zip"):
        words = f"the file is called {ending} and does not begin as one; it is damaged or not packed"
        raise UnusableFile("file_name", "CONTENT", words)
    else:
        yield path, file_name


def _without(file_name: str, ending: str) -> str:
    return file_name[: -len(ending)] if file_name.lower().endswith(ending) else file_name


@contextmanager
def _copy_of_gzip(path: Path) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(prefix="candles-") as copy:
        with _readable("gzip"), gzip.open(path) as source:
            _pour(source, copy)
        yield Path(copy.name)


@contextmanager
def _copy_of_zip(path: Path) -> Iterator[tuple[Path, str]]:
    with tempfile.NamedTemporaryFile(prefix="candles-") as copy:
        with _readable("zip"), zipfile.ZipFile(path) as archive:
            member = _only_member(archive)
            with archive.open(member) as source:
                _pour(source, copy)
        yield Path(copy.name), PurePosixPath(member.filename).name


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [one for one in archive.infolist()[:_MOST_MEMBERS] if not one.is_dir() and not _is_beside(one.filename)]
    if len(members) != 1:
        some = ", ".join("".join(filter(str.isprintable, one.filename))[:40] for one in members[:3])
        words = f"the zip holds {len(members)} files{f' ({some}, …)' if members else ''}; unpack it and take one by one"
        raise UnusableFile("file_chunk", "ARCHIVE", words[:240])
    if members[0].flag_bits & 1:
        raise UnusableFile("file_chunk", "ARCHIVE", "the file in the zip is encrypted; unpack it first")
    return members[0]


def _is_beside(name: str) -> bool:
    """What programs put into archives beside the data."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith(".") or name.upper().endswith(".CHECKSUM")


def _pour(source: Readable, target: IO[bytes]) -> None:
    size = 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > MOST_UNPACKED_BYTES:
            words = f"the file unpacks to more than {MOST_UNPACKED_BYTES >> 20} MiB; split it"
            raise UnusableFile("file_chunk", "TOO_LARGE", words)
        target.write(chunk)
    target.flush()


@contextmanager
def _readable(kind: str) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise UnusableFile("file_chunk", "DAMAGED", f"the {kind} file cannot be unpacked: {words}"[:240]) from error
