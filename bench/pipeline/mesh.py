"""The mesh as its users start it, with risk limits that let thousands of small entries through, and the money for them.

What is loosened is what would end or shrink an entry of a dozen dollars because it is one of thousands in the same bar:
nothing that costs time is left out, every rule is still evaluated.
"""

import asyncio
import json
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from bench.pipeline.rows import Rows
from tests.support.live_mesh import LiveMesh, live_mesh
from tradekit import ids, services
from trading.bridge.v1 import bridge_service_pb2_grpc as bridge_grpc
from trading.common.v1 import decimal_pb2
from trading.executor.v1 import executor_service_pb2_grpc as executor_grpc
from trading.executor.v1 import ledger_pb2 as ledger

# As many as the simulated market generates.
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD", "DOGE-USD")
DEPOSIT = "10000000"
_MANY = "100000000"
SETTINGS: Mapping[str, str] = {
    # Rates and cooldowns count market time, in which a burst is one moment.
    "RISK_ORDERS_PER_MINUTE": _MANY,
    "RISK_PRODUCT_ORDERS_PER_MINUTE": _MANY,
    "RISK_COOLDOWN_ENTRY_MINUTES": "0",
    "RISK_COOLDOWN_LOSS_MINUTES": "0",
    # Sizes: an entry is taken as asked for, or a part of it would fall below the smallest order.
    "RISK_MIN_NOTIONAL": "1",
    "RISK_SIGMA_TARGET": "100",
    "RISK_SHOCK_RATIO": "1000000",
    "RISK_MAX_POSITION_RATIO": "1",
    "RISK_GROSS_EXPOSURE_RATIO": "1",
    "RISK_CASH_RESERVE_RATIO": "0",
    "RISK_HEAT_CAP_RATIO": "1",
    "RISK_LIQUIDITY_RATIO": "1",
    "RISK_MAX_OPEN_POSITIONS": "1000",
    # Fees and spread of thousands of entries are a loss that would trip the breakers.
    "RISK_DAILY_LOSS_RATIO": "1",
    "RISK_DRAWDOWN_RATIO": "1",
    "RISK_VOL_LIMIT": "1000",
    # A score of 0.5 for every operator's entry, whatever the account holds.
    "RISK_WEIGHT_VOLATILITY": "0",
    "RISK_WEIGHT_HEAT": "0",
    "RISK_WEIGHT_EXPOSURE": "0",
    "RISK_WEIGHT_DRAWDOWN": "0",
    "RISK_WEIGHT_UNCERTAINTY": "1",
    "RISK_SCORE_SOFT": "0.99",
    "RISK_SCORE_HARD": "1",
    # Lives: in a burst the last one waits for all before it, and reconciliations take their turn.
    "RISK_ACCOUNT_STALE_SECONDS": "600",
    "RISK_RESERVATION_TTL_SECONDS": "600",
    "RECOMMENDATION_TTL_SECONDS": "3600",
}
_WAIT_SECONDS = 180.0
_FRESH = timedelta(hours=2)
_CLEAN = "SELECT clean FROM reconciliations ORDER BY reconciliation_id DESC LIMIT 1"
_BEHIND = "SELECT count(*) FROM watermarks WHERE stage IN ('market', 'signal', 'bridge') AND as_of >= $1"


class BenchFailed(Exception):
    """The bench cannot go on; the text says why and what to do."""


@dataclass
class Bench:
    """A running mesh with what every phase of the bench needs."""

    mesh: LiveMesh
    rows: Rows
    bridge: Any

    async def fresh_hour(self) -> None:
        """Moves the market on by two hours. The order rates remember a market hour, and every assessment reads and stores
        all orders in it: without this a phase would pay for those before it."""
        now = await self._simulator("GET", "status")
        target = datetime.fromisoformat(str(now["now"])) + _FRESH
        await self._simulator("POST", "advance", to=target.isoformat().replace("+00:00", "Z"))
        reached = target.replace(minute=0, second=0, microsecond=0)

        async def followed() -> bool:
            return bool(await self.rows.value(_BEHIND, reached) == 3)

        await self.until(followed, f"market, signal and bridge have not followed the market to {reached}")
        if not await self.rows.until_ended(_WAIT_SECONDS):
            raise BenchFailed("recommendations of the phase before have not ended; see the orchestrator's log")

    @asynccontextmanager
    async def vacuum_held(self) -> AsyncIterator[None]:
        """While it lasts, no autovacuum begins: what it commits and writes when its minute comes is no cost of a load."""
        await self._autovacuum("SET autovacuum = off")
        try:
            yield
        finally:
            await self._autovacuum("RESET autovacuum")

    async def _autovacuum(self, change: str) -> None:
        await self.rows.execute(f"ALTER SYSTEM {change}")
        await self.rows.execute("SELECT pg_reload_conf()")

    async def deposit(self, amount: str = DEPOSIT) -> None:
        """Money comes in at the exchange, and the operator books it."""
        await self._simulator("POST", "transfer", currency="USD", amount=amount)
        async with self.mesh.channel(services.EXECUTOR) as channel:
            stub = executor_grpc.ExecutorServiceStub(channel)
            request = ledger.AdjustLedgerRequest(
                request_id=str(ids.new_request_id()),
                currency="USD",
                amount=decimal_pb2.Decimal(value=amount),
                kind="ADJUSTMENT_KIND_DEPOSIT",
                note="bench",
                preview=True,
            )
            seen = await stub.AdjustLedger(request, timeout=30)
            request.preview = False
            request.expected_difference.CopyFrom(seen.before.difference)
            await stub.AdjustLedger(request, timeout=30)

        async def clean() -> bool:
            return bool(await self.rows.value(_CLEAN))

        await self.until(clean, "the ledger does not agree with the exchange after the deposit")

    async def until(self, holds: Callable[[], Awaitable[bool]], why: str, seconds: float = _WAIT_SECONDS) -> None:
        """Waits; BenchFailed with `why` if it took too long."""
        end = time.monotonic() + seconds
        while not await holds():
            if time.monotonic() > end:
                logs = self.mesh.plan.home.logs
                raise BenchFailed(
                    f"{why} in {seconds:g} s; run it on a quieter machine, or with --keep and read {logs}"
                )
            await asyncio.sleep(0.2)

    async def _simulator(self, method: str, path: str, **body: object) -> dict[str, Any]:
        plan = self.mesh.plan
        trust = ssl.create_default_context(cafile=plan.simulator_ca)
        headers = {"Authorization": f"Bearer {plan.control_token}"}
        url = f"https://{plan.simulator_host}/sim/v1/{path}"
        limit = aiohttp.ClientTimeout(total=_WAIT_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.request(method, url, json=body if method == "POST" else None, headers=headers, ssl=trust) as answer,
        ):
            text = await answer.text()
            if answer.status != 200:
                raise BenchFailed(f"the simulated exchange refused {path}: {text}")
            found: dict[str, Any] = json.loads(text)
            return found


def end_in_peace() -> None:
    """From now on no second Ctrl-C breaks off what ends the processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def running_mesh(folder: Path, settings: Mapping[str, str] = SETTINGS) -> Iterator[LiveMesh]:
    """The mesh, ready; stopped and gone afterwards."""
    folder.mkdir(exist_ok=True)
    for one in (folder.parent, folder):
        # PostgreSQL runs under another account where root starts it.
        one.chmod(0o755)
    with live_mesh(folder, PRODUCTS, settings) as mesh:
        try:
            yield mesh
        finally:
            end_in_peace()


@asynccontextmanager
async def attached(mesh: LiveMesh) -> AsyncIterator[Bench]:
    """The running mesh with money for every phase."""
    async with mesh.database() as connection, mesh.channel(services.BRIDGE) as channel:
        bench = Bench(mesh, Rows(connection), bridge_grpc.BridgeServiceStub(channel))
        try:
            await bench.deposit()
        except grpc.aio.AioRpcError as error:
            raise BenchFailed(f"the executor did not book the deposit: {error.details()}") from error
        yield bench
