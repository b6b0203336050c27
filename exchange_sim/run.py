"""Starts the exchange from its settings and serves until asked to stop."""

import asyncio
import hashlib
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from exchange_sim.app import Parts, build_app
from exchange_sim.auth import load_keys
from exchange_sim.exchange import Exchange
from exchange_sim.market import Market
from exchange_sim.market_bars import BarMarket, BarSource
from exchange_sim.market_mirror import MirrorMarket, pace_for
from exchange_sim.order_checks import Fees
from exchange_sim.pacer import Pacer
from exchange_sim.settings import DEFAULT_PRODUCTS, REPLAY_PREFIX, Settings
from exchange_sim.state import ExchangeState
from exchange_sim.times import SECOND_US, to_us
from exchange_sim.tls import ensure_tls, server_context
from meshkit import connections
from meshkit.hosts import parse_host, session_proxy

_SIMULATED_START = datetime(2025, 1, 1, tzinfo=UTC)
_PAPER_PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
_SHUTDOWN_SECONDS = 3.0

log = logging.getLogger(__name__)


class BadSettings(Exception):
    """The settings contradict each other or the market."""


async def serve(settings: Settings, on_listening: Callable[[], None] | None = None) -> None:
    """Runs until SIGTERM or SIGINT; `on_listening` is called once clients are answered."""
    connections.raise_limit()
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    tls = ensure_tls(settings.state_dir / "tls", settings.host_names())
    state = ExchangeState(settings.state_dir / "exchange.sqlite")
    try:
        async with _market(settings) as (market, background):
            exchange = Exchange(market, state, Fees(settings.taker_fee, settings.maker_fee), time.time)
            exchange.open(_identity(settings, market), _start_us(settings, market), settings.opening_usd)
            _warm(exchange)
            parts = Parts(settings, exchange, Pacer(exchange, settings.speed), load_keys(settings.keys_file))
            runner = web.AppRunner(
                build_app(parts),
                access_log=None,
                shutdown_timeout=_SHUTDOWN_SECONDS,
                keepalive_timeout=connections.IDLE_SECONDS,
            )
            listener = _bind(settings.bind, settings.port)
            await runner.setup()
            try:
                async with connections.listening(runner, listener, server_context(tls)):
                    log.info("%s exchange on %s, CA %s", market.label, listener.getsockname()[:2], tls.ca)
                    if on_listening is not None:
                        on_listening()
                    await _until(stop, parts.pacer, background)
            finally:
                await runner.cleanup()
    finally:
        state.close()


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family)


async def _until(stop: asyncio.Event, pacer: Pacer, mirror: MirrorMarket | None) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pacer.run())]
        if mirror is not None:
            tasks.append(group.create_task(mirror.run()))
        await stop.wait()
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def _market(settings: Settings) -> AsyncIterator[tuple[Market, MirrorMarket | None]]:
    if settings.market == "coinbase":
        products = settings.product_ids() or _PAPER_PRODUCTS
        upstream = parse_host(URL(settings.upstream_url).authority)
        async with aiohttp.ClientSession(**session_proxy(upstream)) as session:
            mirror = MirrorMarket(session, settings.upstream_url, products, pace_for(len(products)), time.time)
            await mirror.start()
            yield mirror, mirror
    else:
        yield BarMarket(_bars(settings), settings.spread_bps, follows_wall_clock=settings.wall_clock), None


def _bars(settings: Settings) -> BarSource:
    """Each kind of market loads its own libraries only: pyarrow for a file, numpy for what is generated."""
    if settings.market.startswith(REPLAY_PREFIX):
        from exchange_sim.market_replay import ReplayBars

        return ReplayBars(Path(settings.market.removeprefix(REPLAY_PREFIX)), settings.product_ids())
    from exchange_sim.market_generated import GeneratedBars

    begin = (settings.start or _SIMULATED_START) - timedelta(days=settings.history_days)
    return GeneratedBars(settings.seed, settings.product_ids() or DEFAULT_PRODUCTS, int(begin.timestamp()))


def _warm(exchange: Exchange) -> None:
    """The first look at a price makes its history; better before the first request than in it."""
    for product in exchange.market.products():
        exchange.market.quote(product.product_id, exchange.now_us)


def _start_us(settings: Settings, market: Market) -> int:
    """Where market time begins when the ledger is new."""
    if market.follows_wall_clock:
        return time.time_ns() // 1000
    if settings.start is not None:
        start_us = to_us(settings.start)
    else:
        replaying = settings.market.startswith(REPLAY_PREFIX)
        start_us = market.first_bar_us if replaying and market.first_bar_us else to_us(_SIMULATED_START)
    if market.end_us is not None and start_us > market.end_us:
        raise BadSettings("SIM_START is later than the market's last price")
    return start_us


def _identity(settings: Settings, market: Market) -> str:
    """What the ledger belongs to: the same state must not be continued in another market."""
    if settings.market == "simulated":
        first = (market.first_bar_us or 0) // SECOND_US
        return f"simulated seed {settings.seed} from {first}"
    if settings.market.startswith(REPLAY_PREFIX):
        content = Path(settings.market.removeprefix(REPLAY_PREFIX)).read_bytes()
        return f"replay {hashlib.sha256(content).hexdigest()}"
    return settings.market
