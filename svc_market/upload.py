"""Receives an import: the frames are checked and kept in a temporary file until the last one has come.

Nothing is stored before the upload is whole, so a stream that breaks or turns out malformed leaves no trace; the file
bounds memory, and its digest tells a repeated import from another one under the same id.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from candle_files.rows import Row, UnusableFile
from meshkit.errors import InvalidRequest, Violation
from svc_market import wire
from svc_market.wire import ImportQuery
from trading.market.v1 import market_service_pb2 as pb

if TYPE_CHECKING:
    from candle_files.files import OpenedFile

MOST_BYTES = 256 * 1024 * 1024
FRAMES_FORMAT = "frames"
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Upload:
    """A whole import: how it was opened, the digest of everything sent, and the format of its rows."""

    query: ImportQuery
    digest: str
    format: str
    rows: Callable[[], Iterator[Row]]


@asynccontextmanager
async def receive(
    requests: AsyncIterator[pb.ImportCandlesRequest], admit: Callable[[ImportQuery], None]
) -> AsyncIterator[Upload]:
    """The upload, while the block lasts; InvalidRequest for frames that break the contract.

    `admit` raises for an import that is not wanted, before its rows are taken.
    """
    query, opening = await _opening(requests)
    admit(query)
    with tempfile.NamedTemporaryFile(prefix="candles-") as file:
        digest = hashlib.sha256(opening)
        kind = await _spool(requests, query, file, digest)
        await asyncio.to_thread(file.flush)
        path = Path(file.name)
        if kind == "candles":
            yield Upload(query, digest.hexdigest(), FRAMES_FORMAT, lambda: _frames(path, query))
        else:
            with ExitStack() as stack:
                found = await asyncio.to_thread(_open, stack, path, query)
                yield Upload(query, digest.hexdigest(), found.format, found.rows)


async def _opening(requests: AsyncIterator[pb.ImportCandlesRequest]) -> tuple[ImportQuery, bytes]:
    first = await anext(requests, None)
    if first is None or first.WhichOneof("frame") != "open":
        raise _broken("open", "FIRST", "the first frame must be open")
    return wire.read_import_open(first.open), first.SerializeToString(deterministic=True)


async def _spool(
    requests: AsyncIterator[pb.ImportCandlesRequest], query: ImportQuery, file: IO[bytes], digest: "hashlib._Hash"
) -> str:
    """Writes the frames to the file; gives which of the two kinds they were."""
    kind, size = "", 0
    async for request in requests:
        frame = request.WhichOneof("frame")
        if frame not in ("candles", "file_chunk") or kind not in ("", frame):
            raise _broken(frame or "frame", "SEQUENCE", "after open come frames of candles, or of file_chunk, not both")
        kind = frame
        content = await asyncio.to_thread(_content, request, query)
        size += len(content)
        if size > MOST_BYTES:
            raise _broken(kind, "TOO_LARGE", f"an import may have {MOST_BYTES} bytes; send it in parts")
        digest.update(content)
        await asyncio.to_thread(file.write, content)
    if not kind:
        raise _broken("frame", "EMPTY", "nothing was sent after open")
    return kind


def _content(request: pb.ImportCandlesRequest, query: ImportQuery) -> bytes:
    """What of a frame is kept; checking 5,000 candles takes long enough to be done beside the event loop."""
    if request.WhichOneof("frame") == "file_chunk":
        wire.check_chunk(len(request.file_chunk))
        return request.file_chunk
    wire.read_import_candles(request.candles, query.hints)
    body = request.candles.SerializeToString(deterministic=True)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def _frames(path: Path, query: ImportQuery) -> Iterator[Row]:
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            batch = pb.CandleBatch.FromString(file.read(int.from_bytes(length, "big")))
            yield from wire.read_import_candles(batch, query.hints)


def _open(stack: ExitStack, path: Path, query: ImportQuery) -> "OpenedFile":
    """Unpacks the file and recognises its format; what was unpacked goes with the stack."""
    # Readers of columns take thirty megabytes that a market without imports does not need.
    from candle_files.files import opened

    try:
        return stack.enter_context(opened(path, query.hints))
    except UnusableFile as error:
        raise unusable(error) from error


def unusable(error: UnusableFile) -> InvalidRequest:
    """The file's fault as the caller's to mend."""
    return InvalidRequest([Violation(error.field, error.rule, text) for text in error.descriptions])


def _broken(field: str, rule: str, description: str) -> InvalidRequest:
    return InvalidRequest([Violation(field, rule, description)])
