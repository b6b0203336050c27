"""The market service in this process over a real socket, a real database, and a real simulated exchange."""

import asyncio
import contextlib
import dataclasses
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from exchange_client import ExchangeProduct, ExchangeUnavailable, RawCandle
from meshkit import lifecycle
from supervisor.ports import free_ports
from svc_market.build import assemble, build
from svc_market.settings import MarketSettings
from trading.market.v1 import market_service_pb2_grpc as rpc

ROOT = Path(__file__).resolve().parents[2]
CONTROL_TOKEN = "control-token-for-tests"


@dataclasses.dataclass
class Simulator:
    """One simulated exchange process."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def env(self) -> dict[str, str]:
        return {
            "exchange_host": f"127.0.0.1:{self.port}",
            "exchange_ca_file": str(self.folder / "state" / "tls" / "ca.pem"),
            "exchange_rate_per_second": "10000",
        }

    async def advance(self, to: datetime) -> None:
        context = ssl.create_default_context(cafile=str(self.folder / "state" / "tls" / "ca.pem"))
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"https://127.0.0.1:{self.port}/sim/v1/advance",
                json={"to": to.isoformat()},
                headers={"Authorization": f"Bearer {CONTROL_TOKEN}"},
                ssl=context,
            ) as answer,
        ):
            assert answer.status == 200, await answer.text()


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Starts simulators with the given SIM_ settings; all are stopped at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(**settings: str) -> Simulator:
        port = free_ports(1)[0]
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SIM_")},
            "SIM_PORT": str(port),
            "SIM_STATE_DIR": str(tmp_path / "state"),
            "SIM_CONTROL_TOKEN": CONTROL_TOKEN,
            "SIM_SPEED": "0",
            "SIM_PRODUCTS": "BTC-USD,ETH-USD,SOL-USD",
            **{f"SIM_{name.upper()}": value for name, value in settings.items()},
        }
        log = (tmp_path / "sim.log").open("wb")
        process = subprocess.Popen([sys.executable, "-m", "exchange_sim"], env=env, cwd=ROOT, stdout=log, stderr=log)
        running.append(process)
        while True:
            assert process.poll() is None, (tmp_path / "sim.log").read_text()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return Simulator(tmp_path, port, process)
            time.sleep(0.05)

    yield start
    for process in running:
        process.terminate()
        process.wait(timeout=20)


@dataclasses.dataclass
class Market:
    """A running market service: its client, its kit and its settings."""

    stub: Any
    service: lifecycle.Service


@contextlib.asynccontextmanager
async def running(database: Any, builder: Any = build, **changes: Any) -> AsyncIterator[Market]:
    """A market service on a free port; drained and stopped at the end."""
    given = {
        "port": 0,
        **database.settings_of("market"),
        "products": "BTC-USD,ETH-USD,SOL-USD",
        "market_grace_seconds": 0.0,
        "market_poll_seconds": 0.05,
        "market_history_bars": 400,
        "drain_seconds": 1.0,
    }
    service = await lifecycle.create(MarketSettings(**{**given, **changes}), builder)
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(service.run(lambda _: started.set_result(None)))
    try:
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
            yield Market(rpc.MarketServiceStub(channel), service)
    finally:
        service.stop()
        service.stop()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 60)


class FakeExchange:
    """An exchange made of a table of candles, as the tests wish it; counts what it was asked for."""

    def __init__(self, now: datetime, products: Iterable[str]) -> None:
        self.now = now
        self.listed = list(products)
        self.bars: dict[str, dict[datetime, RawCandle]] = {product: {} for product in self.listed}
        self.asked: list[tuple[str, datetime, datetime]] = []
        self.down = False

    def fill(self, start: datetime, end: datetime, granularity: int = 3600) -> None:
        """One bar of every product for each step; values differ by product and hour."""
        for number, product in enumerate(self.listed, start=1):
            moment = start
            while moment < end:
                base = Decimal(100 * number) + Decimal(int(moment.timestamp()) // granularity % 1000) / 8
                self.bars[product][moment] = RawCandle(moment, base, base + 1, base - 1, base + Decimal("0.5"), base)
                moment += timedelta(seconds=granularity)

    def _answer(self) -> None:
        if self.down:
            raise ExchangeUnavailable("/test", "it is down")

    async def market_time(self) -> datetime:
        self._answer()
        return self.now

    async def products(self, product_ids: Iterable[str]) -> tuple[ExchangeProduct, ...]:
        self._answer()
        return tuple(_product(one) for one in product_ids if one in self.listed)

    async def candles(self, product_id: str, granularity: int, start: datetime, end: datetime) -> tuple[RawCandle, ...]:
        self._answer()
        assert (end - start).total_seconds() <= 300 * granularity
        self.asked.append((product_id, start, end))
        # The running bar and the bar at `end` are in the answer, as they may be in the real one's.
        found = (bar for bar in self.bars[product_id].values() if start <= bar.start <= min(end, self.now))
        return tuple(sorted(found, key=lambda bar: bar.start, reverse=True))

    async def close(self) -> None:
        return None

    def builder(self) -> Any:
        return lambda settings, kit: assemble(settings, kit, self)


def _product(product_id: str) -> ExchangeProduct:
    base = product_id.partition("-")[0]
    step = Decimal("0.01")
    sizes = (Decimal("0.00000001"), step, step, Decimal("0.0001"), Decimal(1000), Decimal(1), Decimal(1_000_000))
    return ExchangeProduct(product_id, base, *sizes, "online", tradable=True)
