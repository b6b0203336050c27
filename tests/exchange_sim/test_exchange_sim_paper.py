"""Paper trading against a source that can fail: a second exchange, with faults set before it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from waiting import eventually

from exchange_sim.app import Parts, build_app
from exchange_sim.exchange import Exchange
from exchange_sim.market import MarketUnavailable
from exchange_sim.market_bars import BarMarket
from exchange_sim.market_generated import GeneratedBars
from exchange_sim.market_mirror import MirrorMarket, MirrorPace, pace_for
from exchange_sim.order_checks import Fees
from exchange_sim.order_request import parse_create
from exchange_sim.orders import Order
from exchange_sim.pacer import Pacer
from exchange_sim.reasons import NO_PRICE
from exchange_sim.settings import Settings
from exchange_sim.state import ExchangeState

D = Decimal
IDS = ("BTC-USD", "ETH-USD")
START = 1_735_689_600
SECOND_US = 1_000_000
FEES = Fees(D("0.009"), D("0.005"))
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Source:
    """The mirrored exchange, its wall clock, and what its faults do to a reply."""

    exchange: Exchange
    server: TestServer
    fault: Callable[[web.Request], web.StreamResponse | None] = lambda request: None
    wall_seconds: float = 1_000_000.0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    exchange = Exchange(
        BarMarket(GeneratedBars(5, IDS, START - 10 * 86_400), D(2)), ExchangeState(Path(":memory:")), FEES, float
    )
    exchange.open("source", START * SECOND_US + 77, D(0))

    @web.middleware
    async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
        made.asked.append(request.path)
        return made.fault(request) or await handler(request)

    parts = Parts(Settings(state_dir=Path("unused")), exchange, Pacer(exchange, 0), {})
    server = TestServer(build_app(parts, [faults]))
    made = Source(exchange, server)
    await server.start_server()
    yield made
    await server.close()
    exchange.state.close()


@pytest.fixture
async def mirror(source: Source) -> AsyncIterator[MirrorMarket]:
    async with aiohttp.ClientSession() as session:
        url = str(source.server.make_url("/"))
        market = MirrorMarket(session, url, IDS, MirrorPace(0.02, 10.0), lambda: source.wall_seconds)
        await market.start()
        yield market


def paper(market: MirrorMarket, source: Source) -> Exchange:
    exchange = Exchange(market, ExchangeState(Path(":memory:")), FEES, lambda: source.wall_seconds)
    exchange.open("paper", int(source.wall_seconds * SECOND_US), D(10000))
    return exchange


def buy(number: int, **limit: str) -> bytes:
    configuration: dict[str, object] = {"market_market_ioc": {"quote_size": "100"}}
    if limit:
        configuration = {"limit_limit_gtc": {"base_size": "0.01", **limit}}
    body = {
        "client_order_id": f"paper-{number}",
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": configuration,
    }
    return json.dumps(body).encode()


async def test_prices_rules_and_candles_are_the_sources(mirror: MirrorMarket, source: Source) -> None:
    market, now_us = source.exchange.market, source.exchange.now_us
    assert mirror.products() == market.products()
    for product_id in IDS:
        theirs = market.quote(product_id, now_us)
        ours = mirror.quote(product_id, 0)
        assert theirs is not None and ours is not None
        assert (ours.bid, ours.ask) == (theirs.bid, theirs.ask)
        begin = START - 40 * 3600
        assert await mirror.candles(product_id, 3600, begin, START, 0) == await market.candles(
            product_id, 3600, begin, START, now_us
        )
    assert all("/market/" in path for path in source.asked), "public paths only"


async def test_orders_fill_at_the_mirrored_book(mirror: MirrorMarket, source: Source) -> None:
    exchange = paper(mirror, source)
    quote = mirror.quote("BTC-USD", 0)
    assert quote is not None
    order = exchange.create(parse_create(buy(1)))
    assert isinstance(order, Order) and order.filled_value == order.filled_size * quote.ask
    low = (quote.bid * D("0.99")).quantize(D("0.01"))
    resting = exchange.create(parse_create(buy(2, limit_price=str(low))))
    assert isinstance(resting, Order) and resting.status == "OPEN"
    exchange.advance(exchange.now_us + SECOND_US)
    assert len(exchange.state.open_orders()) == 1
    exchange.state.close()


FAULTS: list[Callable[[web.Request], web.StreamResponse | None]] = [
    lambda request: web.Response(status=502, text="<html>"),
    lambda request: web.Response(text="<html>"),
    lambda request: web.json_response({"trades": [], "best_bid": "", "best_ask": ""}),
    lambda request: web.json_response({"trades": [{"price": "NaN"}], "best_bid": "1", "best_ask": "2"}),
    lambda request: web.json_response(["surprise"]),
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_order_on_a_stale_price(
    mirror: MirrorMarket, source: Source, fault: Callable[[web.Request], web.StreamResponse | None]
) -> None:
    exchange = paper(mirror, source)
    poll = asyncio.create_task(mirror.run())
    source.fault = fault
    source.wall_seconds += 9
    assert isinstance(exchange.create(parse_create(buy(1))), Order), "a price of nine seconds still counts"
    source.wall_seconds += 2
    asked = len(source.asked)
    await eventually(lambda: len(source.asked) >= asked + 6)
    assert mirror.quote("BTC-USD", 0) is None
    assert exchange.create(parse_create(buy(2))) == NO_PRICE
    with pytest.raises(MarketUnavailable):
        await mirror.candles("BTC-USD", 3600, START - 3600, START, 0)
    source.fault = lambda request: None
    await eventually(lambda: mirror.quote("BTC-USD", 0) is not None)
    assert isinstance(exchange.create(parse_create(buy(2))), Order), "the refused id is free to try again"
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    exchange.state.close()


async def test_no_start_without_a_source(source: Source) -> None:
    source.fault = FAULTS[0]
    async with aiohttp.ClientSession() as session:
        market = MirrorMarket(session, str(source.server.make_url("/")), IDS, MirrorPace(1, 10), float)
        with pytest.raises(MarketUnavailable, match="HTTP 502"):
            await market.start()


async def test_time_of_paper_trading_is_not_steered(mirror: MirrorMarket, source: Source) -> None:
    parts = Parts(
        Settings(state_dir=Path("unused"), market="coinbase", control_token="t"),
        paper(mirror, source),
        Pacer(paper(mirror, source), 0),
        {},
    )
    async with (
        TestServer(build_app(parts)) as server,
        aiohttp.ClientSession(headers={"Authorization": "Bearer t"}) as http,
    ):
        for path, body in (("advance", {"to": "2100-01-01T00:00:00Z"}), ("speed", {"speed": 2})):
            async with http.post(server.make_url(f"/sim/v1/{path}"), json=body) as reply:
                assert reply.status == 409
        async with http.get(server.make_url("/sim/v1/status")) as reply:
            status = await reply.json()
    assert (status["label"], status["market"], status["first_bar"]) == ("PAPER", "coinbase", None)


@pytest.mark.parametrize("count", [1, 6, 60])
def test_pace_stays_below_the_public_limit(count: int) -> None:
    pace = pace_for(count)
    assert count / pace.poll_seconds < 10 and pace.oldest_seconds > 2 * pace.poll_seconds
