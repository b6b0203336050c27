"""`mesh import FILE`: streams a candle file to the market service and accounts for every row."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import guarded, out
from cli.exits import CommandFailed, ExitCode, not_a_file

if TYPE_CHECKING:
    import grpc

_CHUNK_BYTES = 1 << 20
_MOST_BYTES = 256 << 20
_SECONDS = 600.0


@guarded
def import_file(
    file: Annotated[
        Path, typer.Argument(help="CSV, Parquet, Feather or JSON file of candles, as it is or as .gz or .zip")
    ],
    product: Annotated[str, typer.Option(help="such as BTC-USD, for files that do not say it")] = "",
    granularity: Annotated[str, typer.Option(help="such as 1h, for files that do not say it")] = "",
    only: Annotated[str, typer.Option(help="store only these products")] = "",
    into_simulated: Annotated[
        bool,
        typer.Option("--into-simulated", help="mix real candles into a made-up market, whose model learns from both"),
    ] = False,
) -> None:
    """Store the candles of a file; repeating it changes nothing. Exit code 1 if more than a tenth of its rows was lost."""
    from candle_files.account import lost
    from cli.calls import ask, require_instance
    from cli.instance_file import mesh_home
    from tradekit import services

    file = file.expanduser()
    size = _size(file)
    opening = _opening(file, product, granularity, only, into_simulated)
    instance = require_instance(mesh_home())
    answer = ask(instance, services.MARKET, lambda channel: _send(channel, file, size, opening))
    _print(file, answer)
    if loss := lost({one.code: one.count for one in answer.refusals}, answer.stored + answer.unchanged):
        raise CommandFailed(loss, "look at the reasons above: is this the file, and the market, that you mean?")
    if not answer.stored + answer.unchanged:
        what = f"all {answer.skipped:,} rows were left out by --only" if answer.skipped else "it has no rows"
        raise CommandFailed(f"nothing of {file.name} was used: {what}", "look into the file, or leave --only out")


def _size(file: Path) -> int:
    if file.is_dir():
        raise CommandFailed(f"{file} is a folder", "name one file; import several one by one", ExitCode.USAGE)
    if not file.is_file():
        raise not_a_file(file)
    size = file.stat().st_size
    if not 0 < size <= _MOST_BYTES:
        raise CommandFailed(f"{file} has {size} bytes; 1 to {_MOST_BYTES} can be imported at once", code=ExitCode.USAGE)
    return size


def _opening(file: Path, product: str, granularity: str, only: str, into_simulated: bool) -> Any:
    from cli.candle_file import granularity_option
    from tradekit import ids
    from trading.market.v1 import market_service_pb2 as pb

    return pb.ImportOpen(
        request_id=str(ids.new_request_id()),
        file_name=file.name,
        product_id=product.upper(),
        granularity=granularity_option(granularity),
        only_product_ids=[part.strip().upper() for part in only.split(",") if part.strip()],
        into_simulated=into_simulated,
    )


async def _send(channel: "grpc.aio.Channel", file: Path, size: int, opening: Any) -> Any:
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

    from trading.market.v1 import market_service_pb2 as pb
    from trading.market.v1 import market_service_pb2_grpc as rpc

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task(file.name, total=size)

        async def frames() -> AsyncIterator[Any]:
            yield pb.ImportCandlesRequest(open=opening)
            # Read between frames: flow control of the call keeps at most a few chunks in memory.
            handle = os.open(file, os.O_RDONLY)
            try:
                while chunk := os.read(handle, _CHUNK_BYTES):
                    yield pb.ImportCandlesRequest(file_chunk=chunk)
                    progress.advance(task, len(chunk))
            finally:
                os.close(handle)
            progress.update(task, description="sent; the market service checks and stores")

        return await rpc.MarketServiceStub(channel).ImportCandles(frames(), timeout=_SECONDS)


def _print(file: Path, answer: Any) -> None:
    from rich.table import Table

    from cli.console import escape

    table = Table(box=None, padding=(0, 2), header_style="dim", title=f"{escape(file.name)} ({answer.format})")
    for name in ("lines", f"{answer.lines:,}"):
        table.add_column(name, justify="left" if name == "lines" else "right")
    counts = {
        "stored": answer.stored,
        "unchanged": answer.unchanged,
        "left out": answer.skipped,
        "refused": answer.refused,
        "headers": answer.headers,
        "blank": answer.blanks,
    }
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    out.print(table)
    for refusal in answer.refusals:
        out.print(f"  [red]{refusal.code}[/] {refusal.count:,}, first: {escape(refusal.example)}")
