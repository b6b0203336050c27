"""An exchange in this process with its WebSocket, for tests of the WebSocket's parts."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from exchange_sim import socket as sockets
from exchange_sim.auth import ApiKey
from exchange_sim.exchange import Exchange
from exchange_sim.fault_rules import Faults
from exchange_sim.market import Candle, Quote
from exchange_sim.market_bars import BarMarket
from exchange_sim.market_generated import GeneratedBars
from exchange_sim.order_checks import Fees
from exchange_sim.order_request import parse_create
from exchange_sim.orders import Order
from exchange_sim.state import ExchangeState
from exchange_sim.times import SECOND_US

D = Decimal
START = 1_735_689_600
DAY = 86_400
PRODUCTS = ("BTC-USD", "ETH-USD")
HEARTBEATS = {"type": "subscribe", "channel": "heartbeats"}


class Faulty(BarMarket):
    """A market whose quotes and candles can fail."""

    fault: Exception | None = None
    quoted: Quote | None = None

    def quote(self, product_id: str, at_us: int) -> Quote | None:
        if self.fault is not None:
            raise self.fault
        return self.quoted or super().quote(product_id, at_us)

    async def candles(self, *asked: Any) -> list[Candle]:
        if self.fault is not None:
            raise self.fault
        return await super().candles(*asked)


def a_market() -> Faulty:
    return Faulty(GeneratedBars(3, PRODUCTS, START - 40 * DAY), D(2))


def an_exchange() -> Exchange:
    made = Exchange(a_market(), ExchangeState(Path(":memory:")), Fees(D("0.009"), D("0.005")), lambda: float(START))
    made.open("test", START * SECOND_US, D(10000))
    return made


def buy(made: Exchange, number: int, configuration: object) -> Order:
    body = {
        "client_order_id": f"order-{number}",
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": configuration,
    }
    order = made.create(parse_create(json.dumps(body).encode()))
    assert isinstance(order, Order)
    return order


@asynccontextmanager
async def serving(
    made: Exchange, keys: dict[str, ApiKey] | None = None, faults: Faults | None = None
) -> AsyncIterator[tuple[Any, Any]]:
    """(where to connect, the sockets) of an exchange in this process."""
    served = sockets.Sockets(made, keys or {}, lambda: (0.0,), faults or Faults())
    app = web.Application()
    app.router.add_get("/", served.serve)
    app.on_shutdown.append(served.close)
    made.state.on_orders = served.orders_changed
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield lambda: session.ws_connect(server.make_url("/")), served
