"""One lane of a campaign: a database server, an exchange and an executor of its own, the proxy between the two, and everybody
who trades there. It begins a new chapter (new ledger, new exchange) from time to time, so that histories stay short.

What scales with the life of an exchange's token is set short; the rules between those settings are the product's own.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from exchange_sim.tls import TlsFiles, ensure_tls
from supervisor.embedded_postgres import SUPERUSER
from supervisor.forking import ForkLauncher
from supervisor.ports import free_ports
from tests.chaos.caller import Caller
from tests.chaos.feed_way import FeedWay, FrameGate
from tests.chaos.grid import Death
from tests.chaos.parties import TEMPLATE_DATABASE, Database, Program
from tests.chaos.plan import PRODUCTS
from tests.drill.hand import HandKey, HandTrader
from tests.drill.proxy import FaultProxy, Timeouts
from tests.drill.reading import LedgerRows
from tests.drill.settling import Settling
from tests.executor.issuer import Issuer, environment, public_key_file
from tests.executor.venue import CONTROL_TOKEN, OTHER_KEY_NAME, simulator_environment, write_keys

REQUEST_SECONDS, TOKEN_SECONDS = 1.0, 10
STATEMENT_SECONDS = 3.0
FEED_SILENT_SECONDS = 2.0
BACK_SECONDS = 240.0
# What strangers leave in the wallet at the beginning: with it, selling more than is held would succeed.
_FOREIGN_QUOTE = Decimal(300)
_OURS = "chaos"
_MARKET = """INSERT INTO products VALUES ($1, $2, $3, $4, $5, $6, true, 'online', true, now())"""
_CANDLE = """INSERT INTO crypto_prices (product_id, granularity, start, open, high, low, close, volume, source, sequence)
VALUES ($1, 3600, '2025-01-01Z', $2, $2, $2, $2, 1, 'exchange:SIMULATED', $3)"""


@dataclass(frozen=True, slots=True)
class ExecutorProgram:
    """What is run as an executor, and what of its environment is its own."""

    module: str
    environment: Mapping[str, str] = field(default_factory=dict)


EXECUTOR = ExecutorProgram("svc_executor")


@dataclass(frozen=True, slots=True)
class _Venue:
    """Where the executor sends orders, as it knows it."""

    ca_file: Path
    key_file: Path


class Lane:
    """A `tests.drill.settling.Ground`. `chapter` counts from 1."""

    hand: HandTrader
    operator: Caller
    ledger: LedgerRows
    settling: Settling

    def __init__(self, folder: Path, database: Database, launcher: ForkLauncher, executor: ExecutorProgram) -> None:
        self.folder = folder
        self.database = database
        self.chapter = 0
        keys, self._key_file = write_keys(folder)
        self._executor_port, self._exchange_port, proxy_port = free_ports(3)
        self._exchange_tls = ensure_tls(folder / "state" / "tls")
        self._proxy_tls: TlsFiles = ensure_tls(folder / "proxy")
        self._host = f"127.0.0.1:{self._exchange_port}"
        self.proxy = FaultProxy(
            proxy_port,
            self._proxy_tls,
            self._host,
            self._exchange_tls.ca,
            Timeouts(REQUEST_SECONDS, TOKEN_SECONDS),
            self._carry_socket,
        )
        # Who looks at what the feed tells the executor.
        self.frames: FrameGate | None = None
        self._ticket_key = Ed25519PrivateKey.generate()
        self._ticket_file = public_key_file(self._ticket_key, folder)
        settings = simulator_environment(
            folder,
            keys,
            self._exchange_port,
            SIM_SPEED="1",
            SIM_HISTORY_DAYS="1",
            SIM_PRODUCTS=",".join(PRODUCTS),
        )
        self.exchange = Program("exchange_sim", settings, folder / "exchange.log", launcher)
        self._own = executor.environment
        self.executor = Program(executor.module, {}, folder / "executor.log", launcher)
        self._engine: AsyncEngine | None = None

    # ---- its beginning and end ---------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything it starts is gone afterwards."""
        headers = {"Authorization": f"Bearer {CONTROL_TOKEN}"}
        async with (
            _session(self._exchange_tls, headers) as self._control,
            _session(self._proxy_tls, {}) as self._executors_way,
        ):
            await self.proxy.start()
            try:
                await self.database.start()
                yield
            finally:
                await self._end_chapter()
                await self.proxy.stop()
                await self.database.stop()

    async def begin_chapter(self) -> None:
        """A new ledger and a new exchange, at which strangers hold something of every product."""
        await self._end_chapter()
        self.chapter += 1
        self.proxy.passages.clear()
        for left in (self.folder / "state").glob("exchange.sqlite*"):
            left.unlink()
        (self.folder / "executor.log").unlink(missing_ok=True)
        name = await self._new_database()
        env = {"DB_HOST": self.database.server.address.host, "DB_NAME": name, "DB_USER": SUPERUSER}
        self._engine = engine_of(env)
        issuer = Issuer(_Stored(self._engine, env), self._ticket_key)
        self.ledger = LedgerRows(lambda: self.connect(name), BACK_SECONDS)
        self.operator = Caller(self._executor_port, issuer)
        self.hand = HandTrader(self._host, self._exchange_tls.ca, self._hand_key())
        self.settling = Settling(self)
        self.executor.environment = environment(
            issuer.database,
            _Venue(self._proxy_tls.ca, self._key_file),  # type: ignore[arg-type]
            f"127.0.0.1:{self.proxy.port}",
            self._ticket_file,
            EXECUTOR_PORT=str(self._executor_port),
            PRODUCTS=",".join(PRODUCTS),
            EXCHANGE_READ_SECONDS=str(REQUEST_SECONDS),
            EXCHANGE_TOTAL_SECONDS=str(REQUEST_SECONDS),
            ABSENCE_SECONDS=str(TOKEN_SECONDS + REQUEST_SECONDS),
            RECONCILE_SECONDS="2",
            DB_TIMEOUT_SECONDS=str(STATEMENT_SECONDS),
            PROTECTIVE_EXITS="BRACKET",
            FEEDS="true",
            FEED_SILENT_SECONDS=str(FEED_SILENT_SECONDS),
            PROTECTION_POLL_SECONDS="0.5",
            **self._own,
        )
        await self.exchange.start()
        await self._until_exchange()
        await self._write_market()
        await self.executor.start()
        await self.until_clean()
        for product in PRODUCTS:
            assert await self.hand.buy(product, _FOREIGN_QUOTE)
        await self.settling.book_foreign_acts()
        await self.until_clean()

    async def _end_chapter(self) -> None:
        await self.executor.kill()
        await self.exchange.kill()
        if self._engine is not None:
            self.ledger.disconnect()
            await self.operator.leave()
            await self._engine.dispose()
            self._engine = None

    async def _new_database(self) -> str:
        name = f"chapter_{self.chapter}"
        connection = await self.connect("postgres")
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS chapter_{self.chapter - 1} WITH (FORCE)")
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE_DATABASE} STRATEGY file_copy")
        finally:
            connection.terminate()
        return name

    async def _write_market(self) -> None:
        """What the market service would have stored."""
        for number, product in enumerate(PRODUCTS):
            about = await self.hand.about(product)
            increments = (about.base_increment, about.quote_increment, about.price_increment)
            sizes = (about.base_min_size, about.quote_min_size)
            await self.fetch(_MARKET, product, *map(Decimal, (*increments, *sizes)))
            await self.fetch(_CANDLE, product, Decimal(about.price), number + 1)

    def _hand_key(self) -> HandKey:
        stored = json.loads((self.folder / "other_key.json").read_text())
        return HandKey(OTHER_KEY_NAME, stored["privateKey"], {})

    # ---- deaths ------------------------------------------------------------------------------------------------------

    async def kill(self, who: Death) -> None:
        """kill -9."""
        await self._party(who).kill()

    async def revive(self, who: Death) -> None:
        """Starts again who was killed."""
        await self._party(who).start()

    def _party(self, who: Death) -> Program | Database:
        return {Death.EXECUTOR: self.executor, Death.EXCHANGE: self.exchange, Death.DATABASE: self.database}[who]

    # ---- the database ------------------------------------------------------------------------------------------------

    async def connect(self, name: str | None = None) -> Any:
        """A connection of the tester's own."""
        return await asyncpg.connect(
            host=self.database.server.address.host,
            user=SUPERUSER,
            database=name or f"chapter_{self.chapter}",
            server_settings={"application_name": _OURS},
            timeout=5,
        )

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """Rows of the ledger."""
        return await self.ledger.fetch(query, *arguments)

    # ---- the exchange ------------------------------------------------------------------------------------------------

    async def habits(self, **habits: float) -> None:
        """Changes what the exchange does as a habit."""
        async with self._control.post(f"https://{self._host}/sim/v1/habits", json=habits) as answer:
            answer.raise_for_status()

    async def _carry_socket(self, request: web.Request, session: aiohttp.ClientSession, url: str) -> web.StreamResponse:
        """A feed of the executor, past whoever looks at its frames now."""
        return await FeedWay(lambda: self.frames).carry(request, session, url)

    async def exchange_seconds(self) -> float:
        """The exchange's own time in epoch seconds, on the executor's way to it by a new connection."""
        async with self._executors_way.get(f"https://127.0.0.1:{self.proxy.port}/api/v3/brokerage/time") as answer:
            answer.raise_for_status()
            return int((await answer.json())["epochMillis"]) / 1000

    async def _until_exchange(self) -> None:
        async with asyncio.timeout(BACK_SECONDS):
            while True:
                try:
                    await self.exchange_seconds()
                except (aiohttp.ClientError, OSError):
                    self.exchange.must_live()
                    await asyncio.sleep(0.02)
                else:
                    return

    async def until_back(self) -> None:
        """Returns when everybody answers. TimeoutError, Died."""
        await self._until_exchange()
        await self.fetch("SELECT 1")
        async with asyncio.timeout(BACK_SECONDS):
            while not await self.operator.serves():
                self.executor.must_live()

    async def until_clean(self) -> None:
        """Returns when a reconciliation finds everything equal. TimeoutError, Died."""
        async with asyncio.timeout(BACK_SECONDS):
            while not await self.operator.reconcile():
                self.executor.must_live()
                await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the issuer and an executor's environment need of a database."""

    engine: AsyncEngine
    env: dict[str, str]


def _session(tls: TlsFiles, headers: dict[str, str]) -> aiohttp.ClientSession:
    """Each request by a connection of its own: the other end may have died since the last."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=tls.ca), force_close=True)
    return aiohttp.ClientSession(connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=10))


def engine_of(env: dict[str, str]) -> AsyncEngine:
    """A connection that has died is noticed before it is used."""
    url = URL.create(
        "postgresql+asyncpg", username=env["DB_USER"], database=env["DB_NAME"], query={"host": env["DB_HOST"]}
    )
    return create_async_engine(
        url, pool_pre_ping=True, pool_size=2, connect_args={"server_settings": {"application_name": _OURS}}
    )
