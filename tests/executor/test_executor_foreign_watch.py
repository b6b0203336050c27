"""How far back the executor looks for what others did: a minute as a rule, an hour now and then and where there is reason to."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import structlog

from exchange_client import ExchangeFill, ExchangeOrder, ExchangeUnavailable
from svc_executor import foreign_store
from svc_executor.foreign_watch import ForeignWatch
from tests.support.stored import store_order

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
NOW = OPENED + timedelta(hours=5)
MINUTE = timedelta(minutes=1)


@dataclass
class Listing:
    """An exchange that lists fills in pages of three, and notes from when on it was asked for them."""

    told: list[ExchangeFill] = field(default_factory=list)
    asked: list[datetime] = field(default_factory=list)
    now: float = 0.0
    fails: bool = False

    def monotonic(self) -> float:
        return self.now

    async def resting_orders(self) -> tuple[ExchangeOrder, ...]:
        return ()

    async def fill_pages(self, start: datetime) -> AsyncIterator[Sequence[ExchangeFill]]:
        self.asked.append(start)
        listed = sorted((one for one in self.told if one.trade_time >= start), key=lambda one: one.trade_time)[::-1]
        for place in range(0, len(listed), 3):
            yield listed[place : place + 3]
            if self.fails:
                raise ExchangeUnavailable("fills", "its pages do not end")
        # A page may be told twice while new fills push the others on.
        yield listed[-3:]

    async def order(self, exchange_order_id: str) -> ExchangeOrder:
        filled = sum((one.size for one in self.told if one.order_id == exchange_order_id), D(0))
        return ExchangeOrder(
            exchange_order_id, f"by-hand-{exchange_order_id}", "BTC-USD", "BUY", {}, "FILLED", filled, filled * 100, D(0),
            True, OPENED, "", "",
        )  # type: ignore[arg-type]  # fmt: skip

    async def fills(self, ids: Iterable[str]) -> tuple[ExchangeFill, ...]:
        wanted = set(ids)
        return tuple(one for one in self.told if one.order_id in wanted)

    def add(self, order_id: str, at: datetime, size: str = "1") -> None:
        number = f"{len(self.told)}"
        self.told.append(
            ExchangeFill(number, number, order_id, "BTC-USD", "BUY", "FILL", D(100), D(size), False, D(0), "TAKER", at)  # type: ignore[arg-type]
        )


async def opened(database: Any) -> None:
    async with database.engine.begin() as connection:
        await foreign_store.write_opening(connection, OPENED, [])


async def seen(database: Any) -> dict[str, D]:
    async with database.engine.connect() as connection:
        return {one.exchange_order_id: one.filled_size for one in await foreign_store.live_foreign_orders(connection)}


async def test_the_meshs_own_fills_are_listed_once_and_not_at_every_look(database: Any) -> None:
    """An hour of its own trading cost a request for every 250 fills, at every look, and a statement with an id for each."""
    await opened(database)
    exchange = Listing()
    for number in range(20):
        await store_order(database.engine, "BTC-USD", "BUY", "FILLED", OPENED, exchange_order_id=f"own-{number}")
        exchange.add(f"own-{number}", NOW - MINUTE * number)
    watch = ForeignWatch(database.engine, exchange, exchange, structlog.get_logger())  # type: ignore[arg-type]
    await watch.check(far_back=False)
    for _ in range(3):
        exchange.now += 10
        await watch.check(far_back=False)
    exchange.now += 300
    await watch.check(far_back=False)
    hour = timedelta(hours=1)
    assert exchange.asked == [OPENED, NOW - MINUTE, NOW - MINUTE, NOW - MINUTE, NOW - hour]
    assert await seen(database) == {}


async def test_a_fill_that_is_listed_late_is_found_where_there_is_reason_to_look(database: Any) -> None:
    await opened(database)
    exchange = Listing()
    exchange.add("stranger", NOW)
    watch = ForeignWatch(database.engine, exchange, exchange, structlog.get_logger())  # type: ignore[arg-type]
    await watch.check(far_back=False)
    assert await seen(database) == {"stranger": 1}, "a fill that is told twice counts once"
    exchange.add("late", NOW - MINUTE * 30, "2")
    await watch.check(far_back=False)
    assert "late" not in await seen(database)
    await watch.check(far_back=True)
    assert await seen(database) == {"stranger": 1, "late": 2}


async def test_a_look_that_failed_was_none(database: Any) -> None:
    await opened(database)
    exchange = Listing(fails=True)
    watch = ForeignWatch(database.engine, exchange, exchange, structlog.get_logger())  # type: ignore[arg-type]
    exchange.add("stranger", NOW)
    await watch.check(far_back=False)
    exchange.fails = False
    await watch.check(far_back=False)
    assert exchange.asked == [OPENED, OPENED] and await seen(database) == {"stranger": 1}
