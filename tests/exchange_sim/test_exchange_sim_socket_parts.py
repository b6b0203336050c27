"""The WebSocket's parts by themselves: messages understood or refused, books that replay, series that agree however they are
cut, what a commit tells, and what is left when everybody is gone."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from exchange_feed import PATIENCE_SECONDS, ask, farewell, receive
from hypothesis import given
from hypothesis import strategies as st
from waiting import eventually

from exchange_sim import socket as sockets
from exchange_sim import socket_connection
from exchange_sim import socket_views as views
from exchange_sim.market import Level, MarketUnavailable
from exchange_sim.market_bars import BarMarket, fold
from exchange_sim.market_generated import GeneratedBars
from exchange_sim.numbers import plain
from exchange_sim.socket_channels import Candles, Level2, MarketTrades, Ticker
from exchange_sim.socket_market import Series, SocketMarket
from exchange_sim.socket_request import CHANNELS, BadMessage, SocketRequest, parse_message
from exchange_sim.times import SECOND_US
from tests.exchange_sim.socket_world import (
    DAY,
    HEARTBEATS,
    PRODUCTS,
    START,
    D,
    Faulty,
    a_market,
    an_exchange,
    buy,
    serving,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*CHANNELS, *PRODUCTS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
messages = st.text() | st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["subscribe", "unsubscribe"]) | json_values,
        "channel": st.sampled_from(CHANNELS) | json_values,
        "product_ids": st.lists(st.sampled_from(PRODUCTS)) | json_values,
        "jwt": st.text() | json_values,
    },
).map(json.dumps)


@given(messages)
def test_a_message_is_understood_or_refused(text: str) -> None:
    try:
        request = parse_message(text, PRODUCTS)
    except BadMessage as refusal:
        assert str(refusal)
        return
    sent = json.loads(text)
    assert (sent["type"] == "subscribe", sent["channel"]) == (request.subscribes, request.channel)
    assert set(request.product_ids) <= set(PRODUCTS) and request.token == sent.get("jwt")
    assert len(set(request.product_ids)) == len(request.product_ids)
    assert set(sent.get("product_ids") or request.product_ids) == set(request.product_ids)


def test_no_product_named_means_all_of_the_market() -> None:
    assert parse_message('{"type":"subscribe","channel":"ticker"}', PRODUCTS) == SocketRequest(
        True, "ticker", PRODUCTS, None
    )
    assert parse_message('{"type":"subscribe","channel":"user","product_ids":[]}', PRODUCTS).product_ids == ()


def test_a_heartbeat_tells_time_as_go_prints_it() -> None:
    told = [views.heartbeat(START * SECOND_US + fraction, 7)["current_time"] for fraction in (0, 120_000, 1)]
    assert told == [
        "2025-01-01 00:00:00 +0000 UTC",
        "2025-01-01 00:00:00.12 +0000 UTC",
        "2025-01-01 00:00:00.000001 +0000 UTC",
    ]


prices = st.none() | st.tuples(st.integers(1, 5), st.integers(0, 3))


@given(st.lists(prices, min_size=1, max_size=8))
def test_a_book_replays_to_what_it_is(moves: list[tuple[int, int] | None]) -> None:
    """Also through times without a trustworthy price, when it is empty."""

    @dataclass
    class Quotes:
        now: tuple[int, int] | None = None

        def levels(self, product_id: str, side: str, now_us: int) -> tuple[Level, ...]:
            """Two on each side, apart from each other; deeper behind."""
            if self.now is None:
                return ()
            first, away = (sum(self.now), 100) if side == "BUY" else (self.now[0], -100)
            return Level(D(first), D(1)), Level(D(first + away), D(2))

    market = Quotes()
    channel = Level2(market)  # type: ignore[arg-type]
    book: dict[tuple[str, str], str] = {}
    for number, quote in enumerate(moves):
        market.now = quote
        told = channel.start(["BTC-USD"], 0) if number == 0 else channel.update(number)
        assert len(told) <= 1
        for change in (one for events in told for event in events for one in event["updates"]):
            place = change["side"], change["price_level"]
            if change["new_quantity"] == "0":
                del book[place]
            else:
                assert book.get(place) != change["new_quantity"]
                book[place] = change["new_quantity"]
        sides = (("bid", "SELL"), ("offer", "BUY"))
        expected = {
            (name, plain(one.price)): plain(one.size)
            for name, side in sides
            for one in market.levels("BTC-USD", side, 0)
        }
        assert book == expected and not channel.update(number)


@pytest.mark.parametrize("granularities", [(300,), (7, 300), (70, 7, 3600)])
async def test_a_series_is_the_same_however_it_is_caught_up(granularities: tuple[int, ...]) -> None:
    market, span = a_market(), DAY
    stepped = Series(market, "BTC-USD", granularities, span)
    for seconds in (0, 1, 299, 300, 301, 3601, 7199, 3 * DAY, 3 * DAY + 77):
        now_us = (START + seconds) * SECOND_US
        await stepped.catch_up(now_us)
        fresh = Series(market, "BTC-USD", granularities, span)
        await fresh.catch_up(now_us)
        granularity = fresh.granularity or 0
        newest = (START + seconds) // granularity * granularity
        expected = await market.candles("BTC-USD", granularity, newest - span, newest, now_us)
        assert list(stepped.candles) == list(fresh.candles) == expected and len(expected) >= span // granularity
        assert granularity == granularities[-1]
        lowest, highest = min(one.low for one in expected), max(one.high for one in expected)
        assert stepped.range_with(lowest) == views.Range(lowest, highest)
        assert stepped.range_with(highest + 1) == views.Range(lowest, highest + 1)
    market.fault = MarketUnavailable("away")
    with pytest.raises(MarketUnavailable):
        await stepped.catch_up(now_us + SECOND_US)
    assert list(stepped.candles) == expected, "what was known stays known"


async def test_a_series_of_a_market_without_such_candles_is_empty() -> None:
    series = Series(a_market(), "BTC-USD", (7,), DAY)
    await series.catch_up(START * SECOND_US)
    assert (series.granularity, series.candles) == (None, ())
    assert series.range_with(D(5)) == views.Range(D(5), D(5))


async def test_the_widest_range_is_the_years() -> None:
    market = SocketMarket(a_market())
    ticker, now_us = Ticker(market), START * SECOND_US
    await ticker.load(PRODUCTS, now_us)
    for product_id in PRODUCTS:
        quote = market.quote(product_id, now_us)
        assert quote is not None
        day, year = market.ranges(product_id, quote.last)
        assert year.low < day.low <= quote.last <= day.high < year.high
        whole = fold(0, market.year_series(product_id).candles)
        assert year == views.Range(whole.low, whole.high)


async def test_candles_of_five_minutes_or_none() -> None:
    """A replayed file may be coarser."""

    class Hourly(GeneratedBars):
        step = 3600
        has_insides = False

    channel = Candles(SocketMarket(BarMarket(Hourly(3, PRODUCTS, START - 40 * DAY), D(2))))
    with pytest.raises(BadMessage, match="five minutes"):
        await channel.load(["BTC-USD"], START * SECOND_US)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_trades_are_told_once_each(waits: list[int]) -> None:
    market, now_us = a_market(), START * SECOND_US
    channel = MarketTrades(SocketMarket(market))
    told = [one["trade_id"] for events in channel.start(["BTC-USD"], now_us) for one in events[0]["trades"]]
    for seconds in waits:
        now_us += seconds * SECOND_US
        told += [one["trade_id"] for events in channel.update(now_us) for one in events[0]["trades"]]
        assert channel.update(now_us) == []
    made = [one.trade_id for one in market.trades("BTC-USD", 100 + sum(waits) // 10 + 1, now_us)][::-1]
    assert told == made[-len(told) :] and len(told) == 100 + sum(waits) // 10


def test_a_commit_tells_each_changed_order_once_as_it_became() -> None:
    made = an_exchange()
    told: list[list[tuple[str, str]]] = []
    made.state.on_orders = lambda orders: told.append([(one.client_order_id, one.status.value) for one in orders])
    far = {"base_size": "0.01", "limit_price": "60000"}
    bought = buy(made, 1, {"market_market_ioc": {"quote_size": "100"}})
    resting = [buy(made, number, {"limit_limit_gtc": far}) for number in (2, 3)]
    buy(made, 1, {"market_market_ioc": {"quote_size": "100"}})
    made.transfer("USD", D(5))
    made.advance(made.now_us + SECOND_US)
    made.cancel([one.order_id for one in (*resting, bought)])
    assert told == [
        [("order-1", "FILLED")],
        [("order-2", "OPEN")],
        [("order-3", "OPEN")],
        [("order-2", "CANCELLED"), ("order-3", "CANCELLED")],
    ]
    assert made.state.order(resting[0].order_id) is not None


def test_a_transaction_that_is_undone_tells_nothing() -> None:
    made = an_exchange()
    told: list[Any] = []
    made.state.on_orders = told.append
    resting = buy(made, 1, {"limit_limit_gtc": {"base_size": "0.01", "limit_price": "60000"}})
    told.clear()
    with pytest.raises(RuntimeError), made.state.transaction():
        made.state.save_order(resting)
        raise RuntimeError
    made.transfer("USD", D(5))
    assert told == []


async def test_nothing_runs_while_nobody_is_connected() -> None:
    async with serving(an_exchange()) as (connect, _):
        before = asyncio.all_tasks()
        async with connect() as first, connect() as second:
            for opened in (first, second):
                await ask(opened, HEARTBEATS)
            running = asyncio.all_tasks() - before
            names = {getattr(task.get_coro(), "__qualname__", "") for task in running}
            assert {"Sockets._run", "Sockets._beat", "Sockets._load", "Connection._read", "Connection._write"} <= names
        await eventually(lambda: not _ours(asyncio.all_tasks()))
        async with connect() as again:
            await ask(again, HEARTBEATS)
            assert (await receive(again))["channel"] == "heartbeats", "and begins again with the next"
        await eventually(lambda: not _ours(asyncio.all_tasks()))


def _ours(tasks: set[asyncio.Task[Any]]) -> set[str]:
    names = {getattr(task.get_coro(), "__qualname__", "") for task in tasks}
    return {name for name in names if name.startswith(("Sockets.", "Connection."))}


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MOST_CONNECTIONS", 2)
    async with serving(an_exchange()) as (connect, _):
        async with connect() as first, connect():
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with connect():
                    pass
            assert (await ask(first, HEARTBEATS))["channel"] == "subscriptions"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    async with connect() as opened:
                        assert (await ask(opened, HEARTBEATS))["channel"] == "subscriptions"
                        break
                except aiohttp.WSServerHandshakeError:
                    await asyncio.sleep(0.05)


async def test_who_reads_gets_any_amount_and_who_does_not_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 64 * 1024
    monkeypatch.setattr(socket_connection, "_MOST_WAITING", most)
    async with serving(an_exchange()) as (connect, served), connect() as reading, connect() as silent:
        status = {"type": "subscribe", "channel": "status"}
        received = 0
        while received < 3 * most:
            received += len(json.dumps(await ask(reading, status))) + len(json.dumps(await receive(reading)))
        assert len(served._connections) == 2
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(ConnectionError):
                while True:
                    await silent.send_str('{"type":"subscribe","channel":"candles"}')
                    await asyncio.sleep(0)
        await eventually(lambda: len(served._connections) == 1)
        assert (await ask(reading, status))["channel"] == "subscriptions"


async def test_who_sends_many_messages_at_once_does_not_keep_others_waiting() -> None:
    many = 500
    async with serving(an_exchange()) as (connect, served), connect() as busy, connect() as other:
        for _ in range(many):
            await busy.send_str('{"type":"subscribe","channel":"status"}')
        await ask(other, HEARTBEATS)
        assert sorted(connection._number for connection in served._connections)[-1] < many
        answered = 0
        while answered < many:
            answered += (await receive(busy))["channel"] == "subscriptions"


async def test_a_fault_of_ours_ends_that_connection_and_no_other() -> None:
    made = an_exchange()
    async with serving(made) as (connect, _), connect() as hit, connect() as other:
        await ask(hit, {"type": "subscribe", "channel": "ticker"})
        await ask(other, HEARTBEATS)
        assert isinstance(made.market, Faulty)
        made.market.fault = LookupError("a fault")
        made.now_us += SECOND_US
        assert await farewell(hit) == (1011, "internal error")
        made.market.fault = None
        assert [(await receive(other))["channel"] for _ in range(2)] == ["heartbeats"] * 2


async def test_no_fault_of_a_listener_reaches_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    made = an_exchange()
    async with serving(made) as (connect, served), connect() as opened:
        await ask(opened, HEARTBEATS)
        for connection in served._connections:
            monkeypatch.setattr(type(connection), "orders_changed", lambda *_: 1 / 0)
        bought = buy(made, 1, {"market_market_ioc": {"quote_size": "100"}})
        assert made.state.order(bought.order_id) == bought and bought.status.value == "FILLED"
        assert await farewell(opened) == (1011, "internal error")


async def test_a_source_that_is_out_leaves_what_can_be_told() -> None:
    made = an_exchange()
    async with serving(made) as (connect, _), connect() as opened:
        assert isinstance(made.market, Faulty)
        quote = made.market.quote("BTC-USD", made.now_us)
        made.market.fault = MarketUnavailable("away")
        candles = {"type": "subscribe", "channel": "candles", "product_ids": ["BTC-USD"]}
        assert (await ask(opened, candles))["channel"] == "subscriptions"
        assert (await receive(opened))["events"] == [{"type": "snapshot", "candles": []}]
        made.market.fault, made.market.quoted = None, quote
        update = await receive(opened)
        assert update["events"][0]["type"] == "update" and len(update["events"][0]["candles"]) == 288
