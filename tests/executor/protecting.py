"""Protected positions of tests: executors that close what they opened, and what rests or has sold at the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

from exchange_client import ExchangeConfig, ExchangeOrder
from exchange_client.coinbase.client import CoinbaseClient
from tests.executor.issuer import Running, at_exchange, running
from tests.executor.venue import Simulator
from trading.executor.v1 import executor_service_pb2 as pb

# So near that a few hours of the market reach one of them.
NEAR = {"STOP_RATIO": "0.004", "TARGET_RATIO": "0.004"}


@asynccontextmanager
async def operated(environ: dict[str, str]) -> AsyncIterator[Running]:
    """A running executor whose positions are closed at the end, so that nothing is left resting on the shared account."""
    async with running(environ) as executor:
        yield executor
        await executor.stub.ClosePositions(pb.ClosePositionsRequest(request_id=str(uuid4()), note="end"))


async def look(executor: Running) -> list[pb.PositionProtection]:
    answer = await executor.stub.ProtectPositions(pb.ProtectPositionsRequest(request_id=str(uuid4())), timeout=30)
    return list(answer.positions)


async def rests(executor: Running, kind: int = pb.ORDER_STATE_OPEN) -> pb.ProtectiveOrder:
    """The one protective order, as soon as it is there by itself."""
    async with asyncio.timeout(60):
        while True:
            listed = await executor.stub.ListOrders(pb.ListOrdersRequest(state=kind))
            found = [one for one in listed.orders if one.purpose == pb.ORDER_PURPOSE_PROTECTION]
            if found:
                (order,) = found
                return order
            await asyncio.sleep(0.05)


async def done(executor: Running, order_id: str) -> pb.Order:
    return await executor.until(order_id, pb.ORDER_STATE_FILLED, pb.ORDER_STATE_CANCELLED, pb.ORDER_STATE_REJECTED)


async def later(simulator: Simulator, **span: float) -> None:
    """The market goes on."""
    config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
    async with CoinbaseClient(config) as client:
        now = await client.market_time()
    await simulator.control("advance", to=(now + timedelta(**span)).isoformat())


async def there(simulator: Simulator, order_id: str) -> ExchangeOrder:
    (found,) = await at_exchange(simulator, order_id)
    return found
