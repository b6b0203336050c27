"""Takes candles from the exchange and stores them: the one function behind the poller and BackfillCandles.

A period is taken in windows, oldest first; each window is asked for all products at once and stored in one transaction
together with the watermark, so that nobody ever sees half a bar.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from candle_files.rows import Candle, Refusal
from exchange_client import ExchangeProduct, MarketData, RawCandle
from meshkit.clock import Clock
from meshkit.errors import MeshError
from meshkit.telemetry import Metrics
from schema.streams import CANDLES, advance_watermark, notify, read_watermark
from svc_market import store
from svc_market.candles import Followed, sift
from svc_market.paging import Span, closed, gaps, merge, pages
from svc_market.settings import MarketSettings
from svc_market.watermark import reach
from tradekit.bars import bar_start, is_on_grid
from tradekit.products import Product

STAGE = "market"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch has come, over all its products; `product_id` is set where it has only one."""

    product_id: str = ""
    bars_done: int = 0
    bars_total: int = 0
    stored: int = 0
    unchanged: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Fetch:
    """What to fetch: first open time of each product, and the end (exclusive) they share. `now` is market time."""

    starts: Mapping[str, datetime]
    end: datetime
    granularity: int
    now: datetime
    # Where given, only bars in these are stored.
    gaps: tuple[Span, ...] = ()

    def wants(self, start: datetime) -> bool:
        return not self.gaps or any(gap.start <= start < gap.end for gap in self.gaps)

    def windows(self) -> list[Span]:
        first = min(self.starts.values(), default=self.end)
        return pages(Span(first, self.end), self.granularity)

    def inside(self, window: Span) -> dict[str, Span]:
        """What to ask each product for; products that begin after the window are not in it."""
        asked = {product: Span(max(start, window.start), window.end) for product, start in self.starts.items()}
        return {product: span for product, span in asked.items() if span.start < span.end}

    def total(self) -> int:
        return sum(Span(start, self.end).bars(self.granularity) for start in self.starts.values())


Beside = Callable[[AsyncConnection, Progress], Awaitable[None]]


@dataclass
class Feed:
    """The exchange side of the service. `followed` is what the exchange lists of the products to be followed."""

    exchange: MarketData
    engine: AsyncEngine
    settings: MarketSettings
    clock: Clock
    metrics: Metrics
    followed: tuple[str, ...] = ()
    last_answer: float | None = None
    # Followed products of which stored candles were deleted, until somebody looks at what is missing of them.
    deleted_from: set[str] = field(default_factory=set)
    _slots: asyncio.Semaphore = field(init=False)
    _failing: dict[str, MeshError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.settings.market_requests)
        self._stored = self.metrics.counter("market.candles.stored", "Candles stored, by source")
        self._absent = self.metrics.counter(
            "market.bars.absent", "Bars asked for that the exchange left out: no trades"
        )
        self._refused = self.metrics.counter("market.candles.refused", "Candles refused, by source and reason")

    async def market_time(self) -> datetime:
        """The exchange's time; decides which bars are closed."""
        now = await self.exchange.market_time()
        self.last_answer = self.clock.monotonic()
        return now

    def failures(self) -> dict[str, MeshError]:
        """Followed products whose candles could not be had when they were last asked for, and why."""
        return {product_id: self._failing[product_id] for product_id in self.followed if product_id in self._failing}

    async def refresh_products(self) -> tuple[str, ...]:
        """Reads the rules of the followed products again; gives those that the exchange does not list."""
        wanted = self.settings.followed_products
        found = await self.exchange.products(wanted)
        self.last_answer = self.clock.monotonic()
        followed = tuple(product.product_id for product in found)
        unlisted = tuple(product_id for product_id in wanted if product_id not in followed)
        async with self.engine.begin() as connection:
            await store.store_products(connection, [_rules(product) for product in found], followed, unlisted)
        self.followed = followed
        return unlisted

    async def unlisted(self, product_ids: Iterable[str]) -> list[str]:
        """Those of the products that the exchange does not have."""
        wanted = [product_id for product_id in product_ids if product_id not in self.followed]
        found = {product.product_id for product in await self.exchange.products(wanted)} if wanted else set()
        return [product_id for product_id in wanted if product_id not in found]

    async def has_told(self, connection: AsyncConnection) -> Followed | None:
        """What this service keeps current from the exchange; None where it does not, or has no watermark yet."""
        if not self.settings.market_follow:
            return None
        watermark = await read_watermark(connection, STAGE)
        # Until the products are read after a start, those that are to be followed stand for those that are.
        product_ids = frozenset(self.followed or self.settings.followed_products)
        return Followed(product_ids, self.settings.granularity_seconds, watermark.as_of) if watermark else None

    async def fetch_and_store(self, fetch: Fetch, at_end: Beside | None = None) -> AsyncIterator[Progress]:
        """Fetches and stores window by window; `at_end` runs in the last transaction, with the final progress."""
        progress = Progress(bars_total=fetch.total())
        windows = fetch.windows()
        for number, window in enumerate(windows):
            asked = fetch.inside(window)
            if number == len(windows) - 1:
                await self._settle(window, fetch)
            candles = await self._fetch(asked, fetch)
            last = number == len(windows) - 1
            progress = await self._store(candles, asked, fetch, progress, at_end if last else None)
            yield progress
        if not windows and at_end is not None:
            async with self.engine.begin() as connection:
                await at_end(connection, progress)

    async def _settle(self, window: Span, fetch: Fetch) -> None:
        """Waits out the grace after the newest close: a bar may be published, or be finished, a moment after it."""
        age = (fetch.now - window.end).total_seconds()
        if window.end == bar_start(fetch.now, fetch.granularity) and age < self.settings.market_grace_seconds:
            await asyncio.sleep(self.settings.market_grace_seconds - age)

    async def _fetch(self, asked: Mapping[str, Span], fetch: Fetch) -> list[Candle]:
        """All products of a window at once; bars still running are left out, not refused.

        One product without an answer fails the window, but every other is asked all the same: those that fail are known by name.
        """

        async def one(product_id: str, span: Span) -> list[Candle]:
            try:
                async with self._slots:
                    answer = await self.exchange.candles(product_id, fetch.granularity, span.start, span.end)
            except MeshError as error:
                self._failing[product_id] = failed[product_id] = error
                return []
            self._failing.pop(product_id, None)
            bars = closed(merge([answer], span), fetch.granularity, fetch.now)
            missing = gaps(
                [bar.start for bar in bars if is_on_grid(bar.start, fetch.granularity)], span, fetch.granularity
            )
            self._absent.add(sum(gap.bars(fetch.granularity) for gap in missing))
            return [_candle(product_id, fetch.granularity, bar) for bar in bars if fetch.wants(bar.start)]

        failed: dict[str, MeshError] = {}
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(product_id, span)) for product_id, span in asked.items()]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if failed:
            raise next(iter(failed.values()))
        self.last_answer = self.clock.monotonic()
        return [candle for task in tasks for candle in task.result()]

    async def _store(
        self,
        candles: Sequence[Candle],
        asked: Mapping[str, Span],
        fetch: Fetch,
        before: Progress,
        beside: Beside | None,
    ) -> Progress:
        source = self.settings.exchange_source
        async with self.engine.begin() as connection:
            sifted = sift(candles, fetch.now, await store.price_increments(connection, asked))
            added = await store.add_sifted(connection, sifted, source)
            refused = (*sifted.refused, *added.conflicts)
            await store.add_refusals(connection, refused[: store.REFUSALS_KEPT], source)
            moved = await self._advance(connection, asked, fetch, added.newest)
            progress = Progress(
                product_id=next(iter(fetch.starts)) if len(fetch.starts) == 1 else "",
                bars_done=before.bars_done + sum(span.bars(fetch.granularity) for span in asked.values()),
                bars_total=before.bars_total,
                stored=before.stored + added.stored,
                unchanged=before.unchanged + added.unchanged,
                refused=before.refused + len(refused),
            )
            if beside is not None:
                await beside(connection, progress)
            if added.stored or moved:
                await notify(connection, CANDLES)
        self.count(added.stored, refused, source)
        return progress

    async def _advance(self, connection: AsyncConnection, asked: Mapping[str, Span], fetch: Fetch, newest: int) -> bool:
        if fetch.granularity != self.settings.granularity_seconds or not asked:
            return False
        watermark = await read_watermark(connection, STAGE)
        span = Span(max(span.start for span in asked.values()), max(span.end for span in asked.values()))
        newest_close = bar_start(fetch.now, fetch.granularity)
        as_of = reach(watermark.as_of if watermark else None, span, asked, self.followed, newest_close)
        if as_of is not None:
            await advance_watermark(connection, STAGE, as_of, newest)
        return as_of is not None

    def count(self, stored: int, refused: Sequence[Refusal], source: str) -> None:
        """Counts what became of rows, in the metrics."""
        kind = source.partition(":")[0]
        if stored:
            self._stored.add(stored, {"source": kind})
        for refusal in refused:
            self._refused.add(1, {"source": kind, "code": refusal.code})


def _candle(product_id: str, granularity: int, bar: RawCandle) -> Candle:
    return Candle(product_id, granularity, bar.start, bar.open, bar.high, bar.low, bar.close, bar.volume)


def _rules(product: ExchangeProduct) -> Product:
    return Product(
        product_id=product.product_id,
        base_increment=product.base_increment,
        quote_increment=product.quote_increment,
        price_increment=product.price_increment,
        base_min_size=product.base_min_size,
        quote_min_size=product.quote_min_size,
        tradable=product.tradable,
        status=product.status,
    )
