"""Keeps candles current: after each close by the exchange's time, the bar of all followed products in one batch.

The wall clock only paces the polls; which bar is closed the exchange says, so live, simulated and replayed markets
are polled by the same loop.
"""

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.backoff import Backoff
from meshkit.errors import MeshError
from schema.streams import MARKET_DUE, advance_watermark, read_watermark
from svc_market import store
from svc_market.feed import STAGE, Feed, Fetch
from svc_market.history import HistoryBackfill
from svc_market.lateness import Lateness
from svc_market.watermark import begin
from tradekit.bars import bar_start

_SHORTEST_WAIT = 0.02


def next_wait(now: datetime, granularity: int, pace: float, poll_seconds: float) -> float:
    """Wall seconds until the next poll: until the running bar closes at this pace, at most the poll interval.

    `pace` is market seconds per wall second; a market that stands still is polled at the interval.
    """
    close = bar_start(now, granularity) + timedelta(seconds=granularity)
    left = (close - now).total_seconds()
    return max(min(poll_seconds, left / pace if pace > 0 else poll_seconds), min(_SHORTEST_WAIT, poll_seconds))


class Pace:
    """Market seconds per wall second, from the last two polls."""

    def __init__(self) -> None:
        self._last: tuple[float, datetime] | None = None
        self.value = 1.0

    def observe(self, monotonic: float, market: datetime) -> None:
        if self._last is not None and monotonic > self._last[0]:
            self.value = max((market - self._last[1]).total_seconds() / (monotonic - self._last[0]), 0.0)
        self._last = (monotonic, market)


class CandlePoller:
    """The service's own task; ends only by cancellation. With MARKET_FOLLOW=off it only keeps products current."""

    def __init__(self, feed: Feed, lateness: Lateness, log: Any, random_source: random.Random) -> None:
        self._feed = feed
        self._lateness = lateness
        self._settings = feed.settings
        self._log = log
        self._backoff = Backoff(0.2, 10.0, random_source)
        self._pace = Pace()
        self._refreshed: float | None = None
        self._history = HistoryBackfill(feed, log)
        self._caught_up: frozenset[str] = frozenset()
        self._behind = False
        self._due: datetime | None = None

    async def run(self) -> None:
        while True:
            try:
                wait = await self._poll()
                self._backoff.reset()
            except MeshError as error:
                wait = self._backoff.next_seconds()
                self._log.warning(
                    "market_not_followed",
                    reason=error.reason,
                    detail=error.message,
                    products=sorted(self._feed.failures()),
                    retry_in=wait,
                )
            await asyncio.sleep(wait)

    async def _poll(self) -> float:
        await self._refresh_products()
        now = await self._feed.market_time()
        self._pace.observe(self._feed.clock.monotonic(), now)
        if self._settings.market_follow:
            watermark = await self._look_how_late(now)
            if self._feed.followed:
                await self._catch_up(now, watermark)
                await self._history.step(now)
        granularity = self._settings.granularity_seconds
        return next_wait(now, granularity, self._pace.value, self._settings.market_poll_seconds)

    async def _look_how_late(self, now: datetime) -> datetime | None:
        """The watermark. While it is late, others find in the database how far it ought to be."""
        newest_close = bar_start(now, self._settings.granularity_seconds)
        async with self._feed.engine.connect() as connection:
            stored = await read_watermark(connection, STAGE)
        watermark = stored.as_of if stored else None
        monotonic = self._feed.clock.monotonic()
        self._lateness.observe(monotonic, newest_close, watermark)
        if self._lateness.late_for(monotonic) is not None and self._due != newest_close:
            async with self._feed.engine.begin() as connection:
                await advance_watermark(connection, MARKET_DUE, newest_close, 0)
            self._due = newest_close
        return watermark

    async def _refresh_products(self) -> None:
        monotonic = self._feed.clock.monotonic()
        if self._refreshed is not None and monotonic - self._refreshed < self._settings.market_products_seconds:
            return
        unlisted = await self._feed.refresh_products()
        self._refreshed = monotonic
        if unlisted:
            self._log.warning("products_not_listed", products=list(unlisted))

    async def _catch_up(self, now: datetime, watermark: datetime | None) -> None:
        """Stores every bar that has closed since the watermark, and the history of products that are new."""
        followed = frozenset(self._feed.followed)
        newest_close = bar_start(now, self._settings.granularity_seconds)
        self._tell_if_behind(newest_close, watermark)
        async with self._feed.engine.connect() as connection:
            await self._plan_missing(connection, newest_close)
            if watermark is not None and newest_close <= watermark and followed <= self._caught_up:
                return
            newest = await store.newest_starts(connection, self._settings.granularity_seconds, followed)
        fetch = self._fetch(newest, watermark, newest_close, now)
        async for progress in self._feed.fetch_and_store(fetch):
            if progress.bars_total > len(followed) * 2:
                self._log.info("catching_up", bars_done=progress.bars_done, bars_total=progress.bars_total)
        self._caught_up = followed

    async def _plan_missing(self, connection: AsyncConnection, newest_close: datetime) -> None:
        """Looks once at what is missing of each product; one with nothing gets its whole history from here."""
        settings = self._settings
        unplanned = self._history.unplanned(self._feed.followed)
        if unplanned:
            goal = newest_close - timedelta(seconds=settings.granularity_seconds * settings.market_history_bars)
            gaps = await store.gaps_since(connection, settings.granularity_seconds, unplanned, goal)
            self._history.plan(unplanned, gaps)

    def _fetch(
        self, newest: dict[str, datetime], watermark: datetime | None, newest_close: datetime, now: datetime
    ) -> Fetch:
        granularity, history = self._settings.granularity_seconds, self._settings.market_history_bars
        starts = {
            product_id: begin(newest.get(product_id), watermark, newest_close, granularity, history)
            for product_id in self._feed.followed
        }
        return Fetch(starts, newest_close, granularity, now)

    def _tell_if_behind(self, newest_close: datetime, watermark: datetime | None) -> None:
        """A market that runs before what is stored was started over with an old database; nothing can be polled then."""
        behind = watermark is not None and newest_close < watermark
        if behind and not self._behind:
            self._log.warning(
                "market_behind_watermark", newest_close=newest_close.isoformat(), watermark=str(watermark)
            )
        self._behind = behind
