"""From a complete bar to its signals stored and streamed, and to its recommendations:
`python -m bench.signal_path [--products 1,10] [--bars 30] [--shards 1,2]`.

The signal service runs as a process of its own beside a real PostgreSQL; this process is the market that says "complete"
and the client that waits for every signal of the bar. A bar's parts come from the service's own log line. With the most
products the bridge runs behind it for as many bars again, and what is awaited is what it has committed.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from bench.signal_path.bridge import BridgeFigures, bridge, figures
from bench.signal_path.service import Service, free_port
from bench.signal_path.stage import (
    FIRST_BAR,
    HOUR,
    StandInMarket,
    database,
    make_model,
    market,
    names,
    prepare,
    series,
    store,
)
from tradekit.bars import utc
from tradekit.services import database_role
from trading.signal.v1 import signal_service_pb2 as pb
from trading.signal.v1 import signal_service_pb2_grpc as rpc

HISTORY = 540
WARM_UP = 4
PAUSE = 0.2
PARTS = ("read", "features", "decide", "store")
LIMIT = 120.0
_MARK = "SELECT advance_watermark('market', $1, 0)"


@dataclass(frozen=True)
class PathFigures:
    """Milliseconds; medians over the bars unless the name says otherwise."""

    products: int
    shards: int
    """Processes that share the products; a part is that of whichever took longest for it."""
    bars: int
    median: float
    least: float
    worst: float
    processor: float
    """Processor time of the service's processes for a bar; a busy machine stretches all else."""
    parts: dict[str, float]
    rest: float
    """The market's word, wake-up, stream, and their way to the client."""


@dataclass(frozen=True)
class RestartFigures:
    """Seconds from the start of the process to the first signal of the next bar at a client."""

    products: int
    path: str
    first_signal: float
    features: float


class Run:
    """One number of products: its database, its service and its client."""

    def __init__(
        self, products: int, bars: int, host: str, folder: Path, stand_in: StandInMarket, port: int, shards: int = 1
    ) -> None:
        self.products = names(products)
        self._bars = bars
        self._data = series(products, HISTORY + 2 * (bars + WARM_UP) + 4)
        self._market = stand_in
        self._name = f"bench_{products}_{shards}"
        self._shards = shards
        self._host = host
        self._folder = folder
        self._port = free_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "DB_HOST": host,
            "DB_NAME": self._name,
            "DB_USER": database_role("signal"),
            "DB_TIMEOUT_SECONDS": "60",
            "SIGNAL_PORT": str(self._port),
            "PRODUCTS": ",".join(self.products),
            "MARKET_ADDRESS": f"127.0.0.1:{port}",
            "DECISION_PROFILE": "EXERCISE",
            "DRAIN_NOTICE_SECONDS": "0",
            "DRAIN_SECONDS": "20",
            "MODEL_DIR": str(folder / "model"),
            "MODEL_PUBLIC_KEY_FILE": str(folder / "public.pem"),
            "GRPC_ENABLE_FORK_SUPPORT": "0",
        }
        self._next = HISTORY

    async def __aenter__(self) -> "Run":
        self._connection = await prepare(self._host, self._name)
        for first in range(0, HISTORY, 60):
            await store(self._connection, self.products, self._data, first, min(first + 59, HISTORY - 1))
        await self._connection.execute("ANALYZE crypto_prices")
        self._services = [self._start(shard) for shard in range(self._shards)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop()
        await self._connection.close()

    def _start(self, shard: int) -> Service:
        """The process of a share; the first is the one that is watched."""
        port = self._port if shard == 0 else free_port()
        own = {"SIGNAL_PORT": str(port), "SIGNAL_SHARDS": str(self._shards), "SIGNAL_SHARD": str(shard)}
        return Service("svc_signal", {**self._environment, **own}, self._folder / f"{self._name}-{shard}.log")

    def _stop(self) -> None:
        for service in self._services:
            service.stop()

    def _processor_seconds(self) -> float:
        return sum(service.processor_seconds() for service in self._services)

    async def path(self) -> PathFigures:
        """Bar after bar, each awaited whole."""
        totals: dict[str, float] = {}
        async with self._channel() as channel:
            watch = await self._watch(channel)
            spent = 0.0
            for number in range(WARM_UP + self._bars):
                if number == WARM_UP:
                    spent = self._processor_seconds()
                as_of, seconds = await self._bar(watch)
                totals[as_of] = seconds * 1000.0
                await asyncio.sleep(PAUSE)
            spent = self._processor_seconds() - spent
        kept = list(totals)[WARM_UP:]
        await self._line(list(totals)[-1])
        shares = [service.bars() for service in self._services]
        parts = {
            part: statistics.median(max(lines[bar][f"{part}_ms"] for lines in shares) for bar in kept) for part in PARTS
        }
        work = {bar: max(sum(lines[bar][f"{part}_ms"] for part in PARTS) for lines in shares) for bar in kept}
        rest = statistics.median(totals[bar] - work[bar] for bar in kept)
        found = [totals[bar] for bar in kept]
        return PathFigures(
            products=len(self.products),
            shards=self._shards,
            bars=len(kept),
            median=statistics.median(found),
            least=min(found),
            worst=max(found),
            processor=spent * 1000.0 / len(kept),
            parts=parts,
            rest=rest,
        )

    async def recommended(self) -> BridgeFigures:
        """Bar after bar, each until the bridge has stored what becomes of its signals."""
        milliseconds, made = [], []
        log = self._folder / f"{self._name}-bridge.log"
        async with bridge(self._environment, self._port, log) as outcomes:
            # It takes what came before it first, and is known to be there by that.
            await outcomes.stored(utc((FIRST_BAR + self._next) * HOUR), len(self.products))
            for number in range(WARM_UP + self._bars):
                await outcomes.end_open()
                as_of = await self._store_next()
                begin = time.perf_counter()
                self._market.complete(as_of)
                count = await outcomes.stored(as_of, len(self.products))
                if number >= WARM_UP:
                    milliseconds.append((time.perf_counter() - begin) * 1000.0)
                    made.append(count)
                await asyncio.sleep(PAUSE)
        return figures(len(self.products), self._shards, milliseconds, made)

    async def restart(self, forget: bool) -> RestartFigures:
        """A stop as an operator stops, the next bar, a new process. `forget`: its saved state is gone too."""
        self._stop()
        if forget:
            await self._connection.execute("DELETE FROM feature_states")
        as_of = await self._complete()
        begin = time.perf_counter()
        self._services = [self._start(shard) for shard in range(self._shards)]
        async with self._channel() as channel:
            watch = await self._watch(channel, after=self._signals_before())
            await self._receive(watch, 1)
        seconds = time.perf_counter() - begin
        line = await self._line(as_of)
        path = "rebuilt from candles" if forget else "restored"
        return RestartFigures(len(self.products), path, seconds, line["features_ms"] / 1000.0)

    async def _line(self, as_of: str) -> dict[str, Any]:
        """The log line of a bar, which is written after its signals have left, once each process has written one."""
        async with asyncio.timeout(LIMIT):
            while True:
                lines = [service.bars() for service in self._services]
                if all(as_of in each for each in lines):
                    return lines[0][as_of]
                await asyncio.sleep(0.02)

    def _channel(self) -> grpc.aio.Channel:
        """One that looks often for a service that is starting, so that its own backoff is not measured."""
        often = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)]
        return grpc.aio.insecure_channel(f"127.0.0.1:{self._port}", [*often, ("grpc.min_reconnect_backoff_ms", 50)])

    def _signals_before(self) -> int:
        return (self._next - HISTORY - 1) * len(self.products)

    async def _store_next(self) -> datetime:
        """The candles of the next bar and the market's watermark, of which nobody has heard yet."""
        bar = self._next
        self._next += 1
        await store(self._connection, self.products, self._data, bar, bar)
        as_of = utc((FIRST_BAR + bar + 1) * HOUR)
        await self._connection.execute(_MARK, as_of)
        return as_of

    async def _complete(self) -> str:
        as_of = await self._store_next()
        self._market.complete(as_of)
        return as_of.isoformat()

    async def _bar(self, watch: Any) -> tuple[str, float]:
        as_of = await self._store_next()
        begin = time.perf_counter()
        self._market.complete(as_of)
        await self._receive(watch, len(self.products))
        return as_of.isoformat(), time.perf_counter() - begin

    async def _watch(self, channel: grpc.aio.Channel, after: int = 0) -> Any:
        """The stream of signals, open; the service may still be starting."""
        async with asyncio.timeout(LIMIT):
            while True:
                call = rpc.SignalServiceStub(channel).WatchSignals(pb.WatchSignalsRequest(after_sequence=after))
                try:
                    await call.wait_for_connection()
                    return call
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.02)

    async def _receive(self, watch: Any, wanted: int) -> None:
        async with asyncio.timeout(LIMIT):
            while wanted > 0:
                frame = await watch.read()
                if frame is grpc.aio.EOF:
                    raise RuntimeError("the stream of signals has ended")
                wanted -= len(frame.batch.signals)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-signal-") as name:
        yield Path(name)


@dataclass(frozen=True)
class Found:
    """What was measured."""

    path: list[PathFigures] = field(default_factory=list)
    restart: list[RestartFigures] = field(default_factory=list)
    bridge: list[BridgeFigures] = field(default_factory=list)


async def measure(counts: list[int], bars: int, restart: int, shards: list[int]) -> Found:
    """Every number of products in turn; restarts for one of them, the bridge behind the most, which is shared as well."""
    found = Found()
    with _folder() as folder, database() as host:
        await asyncio.to_thread(make_model, folder)
        for products in sorted({*counts, restart}):
            async with market() as (stand_in, port), Run(products, bars, host, folder, stand_in, port) as run:
                found.path.append(await run.path())
                print(f"{products} products: {found.path[-1].median:.1f} ms", file=sys.stderr)
                if products == max(counts):
                    found.bridge.append(await run.recommended())
                if products == restart:
                    found.restart.extend([await run.restart(forget) for forget in (False, True)])
        most = max(counts)
        for number in shards:
            if number > 1:
                async with market() as (stand_in, port), Run(most, bars, host, folder, stand_in, port, number) as run:
                    found.path.append(await run.path())
                    print(f"{most} products in {number} shards: {found.path[-1].median:.1f} ms", file=sys.stderr)
                    found.bridge.append(await run.recommended())
    return found


def show(measured: Found) -> None:
    table = Table(title="complete bar -> signals stored and streamed, ms; rest: wake-ups and streams")
    for column in ("products", "shards", "bars", "total", "least", "worst", "processor", *PARTS, "rest"):
        table.add_column(column, justify="right")
    for found in measured.path:
        parts = (f"{found.parts[part]:.2f}" for part in PARTS)
        total = (f"{figure:.2f}" for figure in (found.median, found.least, found.worst, found.processor))
        table.add_row(str(found.products), str(found.shards), str(found.bars), *total, *parts, f"{found.rest:.2f}")
    again = Table(title="stop, next bar, new process -> its first signal, s")
    for column in ("products", "features", "first signal", "of that features"):
        again.add_column(column, justify="right")
    for restart in measured.restart:
        again.add_row(str(restart.products), restart.path, f"{restart.first_signal:.2f}", f"{restart.features:.2f}")
    stored = Table(title="complete bar -> outcomes and recommendations stored, ms")
    for column in ("products", "shards", "bars", "total", "least", "worst", "recommended"):
        stored.add_column(column, justify="right")
    for one in measured.bridge:
        times = (f"{figure:.1f}" for figure in (one.median, one.least, one.worst))
        stored.add_row(str(one.products), str(one.shards), str(one.bars), *times, f"{one.recommended:.0f}")
    console = Console()
    for each in (table, again, stored):
        console.print(each)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.signal_path")
    parser.add_argument("--products", default="1,10,200,1000", help="numbers of products, separated by commas")
    parser.add_argument("--bars", type=int, default=30, help="bars measured for each")
    parser.add_argument("--restart", type=int, default=200, help="number of products of the restarts")
    parser.add_argument("--shards", default="1", help="processes that share the most products, separated by commas")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    counts = [int(part) for part in given.products.split(",")]
    shards = [int(part) for part in given.shards.split(",")]
    found = asyncio.run(measure(counts, given.bars, given.restart, shards))
    show(found)
    if given.json:
        given.json.write_text(json.dumps(asdict(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
