"""The parts that follow a feed, each alone: a feed that is kept open, prices that are told or asked for, orders asked for
because something was told of them."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from exchange_client import (
    Alive,
    BestBid,
    ExchangeUnavailable,
    FeedEvent,
    FeedFault,
    FeedLost,
    Ignored,
    OrderChanged,
    Synchronised,
)
from meshkit.clock import FixedClock
from meshkit.errors import Unavailable
from svc_executor import feed_keeper, order_news
from svc_executor.feed_keeper import FeedKeeper
from svc_executor.locks import KeyedLocks
from svc_executor.order_news import OrderNews
from svc_executor.prices import Prices
from tests.support.waiting import eventually
from tradekit.states import ORDER_TERMINAL, OrderState

D = Decimal
AT = datetime(2025, 1, 1, tzinfo=UTC)


class Noted:
    """A log and metrics that remember."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.counted: list[dict[str, str]] = []
        self.gauge = lambda *_: SimpleNamespace(set=lambda *_: None)
        self.counter = lambda *_: SimpleNamespace(add=lambda _, labels: self.counted.append(labels))
        self.info = self.warning = self.error = lambda line, **_: self.lines.append(line)


def kit(clock: FixedClock, noted: Noted) -> Any:
    return SimpleNamespace(clock=clock, log=noted, metrics=noted)


class Script:
    """A feed whose connections give these events, and then what they end with; the last one stays open."""

    def __init__(self, *connections: Iterable[FeedEvent | Exception]) -> None:
        self.left = deque(connections)
        self.opened = self.closed = 0

    async def connect(self) -> AsyncGenerator[FeedEvent, None]:
        self.opened += 1
        try:
            for event in self.left.popleft() if self.left else ():
                if isinstance(event, Exception):
                    raise event
                yield event
            await asyncio.Event().wait()
        finally:
            self.closed += 1


@asynccontextmanager
async def kept(script: Script, clock: FixedClock, noted: Noted) -> AsyncIterator[tuple[FeedKeeper, list[Any]]]:
    heard: list[Any] = []
    keeper = FeedKeeper("orders", script.connect, heard.append, kit(clock, noted), 5.0, random.Random(1))
    task = asyncio.ensure_future(keeper.run())
    try:
        yield keeper, heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_keeper, "_RETRY_LOW", 0.001)
    monkeypatch.setattr(feed_keeper, "_RETRY_HIGH", 0.002)


LOST = FeedLost(FeedFault.GAP, "message 3 did not come, but 4")


async def test_a_feed_that_was_lost_is_opened_again_and_its_loss_is_told_once(at_once: None) -> None:
    script = Script(
        [Synchronised(), Ignored("repeated"), Ignored("repeated"), LOST],
        [LOST],
        [ZeroDivisionError()],
        [Synchronised(), Alive()],
    )
    noted, clock = Noted(), FixedClock(AT)
    async with kept(script, clock, noted) as (keeper, heard):
        await eventually(lambda: script.opened == 4 and keeper.whole)
        assert heard == [Synchronised(), *[Ignored("repeated")] * 2, None, Synchronised(), Alive()]
        assert noted.lines == ["feed_whole", "feed_message_ignored", "feed_lost", "feed_failed", "feed_whole"]
        assert [one.get("fault", one.get("kind")) for one in noted.counted] == [
            *["repeated"] * 2,
            "GAP",
            "GAP",
            "DEFECT",
        ]
        await keeper.check()
    assert script.closed == 4


async def test_a_feed_is_healthy_while_it_tells_and_for_the_time_it_may_be_silent(at_once: None) -> None:
    script, clock = Script([Alive(), Alive()], [Synchronised()]), FixedClock(AT)
    async with kept(script, clock, Noted()) as (keeper, heard):
        await eventually(lambda: len(heard) == 2)
        clock.elapsed = 5.0
        await keeper.check()
        clock.elapsed = 5.1
        with pytest.raises(Unavailable, match="orders has told nothing for 5 s"):
            await keeper.check()
        keeper.follow_other()
        await eventually(lambda: keeper.whole)
        await keeper.check()


async def test_a_feed_that_follows_nothing_is_not_connected_nor_silent() -> None:
    script, clock, wanted = Script([Synchronised()], [Synchronised()]), FixedClock(AT), [False]
    heard: list[Any] = []
    keeper = FeedKeeper(
        "prices", lambda: script.connect() if wanted[0] else None, heard.append, kit(clock, Noted()), 5.0
    )
    task = asyncio.ensure_future(keeper.run())
    try:
        await asyncio.sleep(0)
        clock.elapsed = 100.0
        await keeper.check()
        wanted[0] = True
        keeper.follow_other()
        await eventually(lambda: keeper.whole)
        wanted[0] = False
        keeper.follow_other()
        await eventually(lambda: script.closed == 1)
        await eventually(lambda: heard == [Synchronised(), None])
        clock.elapsed = 200.0
        await keeper.check()
        assert (script.opened, keeper.whole) == (1, False)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# ---- prices ----------------------------------------------------------------------------------------------------------


class Asked:
    """An exchange that is asked for bids."""

    def __init__(self, bids: dict[str, Decimal] | None) -> None:
        self.bids = bids
        self.asked: list[list[str]] = []

    async def best_bids(self, product_ids: list[str]) -> dict[str, Decimal]:
        self.asked.append(product_ids)
        if self.bids is None:
            raise ExchangeUnavailable("bids", "down")
        return {name: self.bids[name] for name in product_ids if name in self.bids}


def prices(asked: Asked, clock: FixedClock) -> Prices:
    exchange: Any = asked
    return Prices(exchange, clock, Noted(), fresh_seconds=2.0)


async def test_a_bid_that_was_told_counts_until_it_is_old_and_then_it_is_asked_for() -> None:
    clock, asked = FixedClock(AT), Asked({"BTC-USD": D(2), "ETH-USD": D(3)})
    made = prices(asked, clock)
    made.watch({"BTC-USD": lambda _: False})
    assert not made.are_told()
    made.hear(BestBid("BTC-USD", D(1)))
    assert made.are_told()
    assert await made.bids(["BTC-USD"]) == {"BTC-USD": D(1)}
    assert await made.bids(["BTC-USD", "ETH-USD", "SOL-USD"]) == {"BTC-USD": D(1), "ETH-USD": D(3)}
    assert asked.asked == [["ETH-USD", "SOL-USD"]]
    clock.elapsed = 2.1
    assert not made.are_told()
    assert await made.bids(["BTC-USD"]) == {"BTC-USD": D(2)}
    made.hear(BestBid("BTC-USD", D(4)))
    made.hear(BestBid("BTC-USD", None))
    assert not made.are_told()
    made.hear(BestBid("BTC-USD", D(5)))
    made.hear(None)
    assert not made.are_told()
    asked.bids = None
    made.hear(BestBid("ETH-USD", D(6)))
    assert await made.bids(["BTC-USD", "ETH-USD"]) == {"ETH-USD": D(6)}


def test_a_price_that_makes_something_happen_is_told_no_more_often_than_by_polling() -> None:
    clock, called, changed, lost = FixedClock(AT), [], [], []
    made = prices(Asked({}), clock)
    made.when_reached, made.when_lost = called.append, lambda: lost.append(clock.elapsed)
    made.when_watched = lambda: changed.append(made.watched)
    made.watch({"BTC-USD": lambda bid: bid <= 10})
    for clock.elapsed, bid in ((0.0, 11), (0.5, 10), (1.0, 9), (2.4, 9), (2.5, 9), (2.6, 9)):
        made.hear(BestBid("BTC-USD", D(bid)))
        made.hear(BestBid("ETH-USD", D(bid)))
    assert called == ["BTC-USD", "BTC-USD"]
    made.watch({"BTC-USD": lambda bid: bid <= 5, "ETH-USD": None})
    made.watch({"BTC-USD": None})
    made.hear(BestBid("BTC-USD", D(1)))
    assert called == ["BTC-USD", "BTC-USD"]
    assert changed == [{"BTC-USD"}, set()]
    made.hear(None)
    assert lost == [2.6]


# ---- orders ----------------------------------------------------------------------------------------------------------


class Orders:
    """Rows, whoever drives them, and a reconciliation that is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[UUID, Any] = {}
        self.busy = KeyedLocks()
        self.reads = 0
        self.driven: list[UUID] = []
        self.soon = 0
        self.fails = False
        # What a drive makes of an order.
        self.then = OrderState.FILLED
        monkeypatch.setattr(order_news.store, "open_orders", self._open)

    def add(self, state: OrderState, filled: int = 0) -> UUID:
        order_id = uuid4()
        self.change(order_id, state, filled)
        return order_id

    def change(self, order_id: UUID, state: OrderState, filled: int) -> Any:
        terminal = state in ORDER_TERMINAL
        row = SimpleNamespace(order_id=order_id, state=state, filled_size=D(filled), terminal=terminal)
        self.rows[order_id] = row
        return row

    async def _open(self, _: Any) -> list[Any]:
        self.reads += 1
        return [row for row in self.rows.values() if not row.terminal]

    async def drive(self, order_id: UUID) -> Any:
        self.driven.append(order_id)
        if self.fails:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "down")
        return self.change(order_id, self.then, 1)

    def ask_soon(self) -> None:
        self.soon += 1


@asynccontextmanager
async def told(orders: Orders) -> AsyncIterator[OrderNews]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[None]:
        yield

    async def critical(work: Any) -> Any:
        return await work

    made: Any = SimpleNamespace(autocommit=SimpleNamespace(connect=connect), critical=critical, log=Noted())
    news = OrderNews(made, orders, orders)  # type: ignore[arg-type]
    task = asyncio.ensure_future(news.run())
    try:
        yield news
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def changed(order_id: object, filled: int = 0, ended: bool = False) -> OrderChanged:
    return OrderChanged("x", str(order_id), D(filled), ended)


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> Orders:
    return Orders(monkeypatch)


async def test_an_order_is_asked_for_where_something_is_new(orders: Orders) -> None:
    old = [orders.add(OrderState.OPEN), orders.add(OrderState.OPEN, 1)]
    old += [orders.add(OrderState.FILLED, 1), orders.add(OrderState.WAITING)]
    new = [orders.add(OrderState.OPEN), orders.add(OrderState.OPEN, 1), orders.add(OrderState.UNKNOWN)]
    async with told(orders) as news:
        for event in (*map(changed, old[:1]), changed(old[1], 1), *(changed(one, 2, ended=True) for one in old[2:])):
            news.hear(event)
        news.hear(changed(uuid4(), 5))
        for foreign in ("", "somebody-else", "\udcff"):
            news.hear(changed(foreign, 5))
        for event in (changed(new[0], 0, ended=True), changed(new[1], 2), changed(new[2])):
            news.hear(event)
        await eventually(lambda: len(orders.driven) == 3)
    assert sorted(orders.driven) == sorted(new)
    assert (orders.reads, orders.soon) == (1, 0)


async def test_what_is_being_worked_on_is_looked_at_afterwards(orders: Orders) -> None:
    order_id = orders.add(OrderState.PENDING)
    async with told(orders) as news:
        async with orders.busy.hold(order_id):
            for filled in range(5):
                news.hear(changed(order_id, filled, ended=True))
            other = orders.add(OrderState.OPEN)
            news.hear(changed(other, 1))
            await eventually(lambda: orders.driven == [other])
            orders.change(order_id, OrderState.FILLED, 1)
        await eventually(lambda: orders.reads == 2)
    assert orders.driven == [other]


async def test_the_reconciliation_is_asked_where_the_feed_does_not_tell_all(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with told(orders) as news:
        news.hear(Synchronised())
        news.hear(None)
        assert orders.soon == 2
        orders.then = OrderState.OPEN
        news.hear(changed(orders.add(OrderState.OPEN), 1, ended=True))
        await eventually(lambda: orders.soon == 3)
        orders.fails = True
        news.hear(changed(orders.add(OrderState.OPEN), 1))
        await eventually(lambda: orders.soon == 4)
    monkeypatch.setattr(order_news, "_MOST_WAITING", 3)
    made = OrderNews(SimpleNamespace(log=Noted()), orders, orders)  # type: ignore[arg-type]
    for _ in range(3):
        made.hear(changed(uuid4()))
    assert orders.soon == 4
    made.hear(changed(uuid4()))
    assert (orders.soon, made._waiting) == (5, {})
