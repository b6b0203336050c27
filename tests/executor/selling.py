"""What is held, and ways to sell it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

from exchange_client import Accepted
from exchange_client.coinbase.client import CoinbaseClient
from tests.executor.issuer import Issuer, Running, recommend
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb


async def bought(executor: Running, issuer: Issuer, quote: str = "100.00", product: str = "BTC-USD") -> pb.Order:
    order = await executor.execute(await issuer.request(recommend(Side.BUY, quote, product)))
    assert order.state == pb.ORDER_STATE_FILLED
    return order


async def without_ticket(issuer: Issuer, item: Any, size: str | None = None) -> pb.ExecuteRecommendationRequest:
    request = await issuer.request(item, size)
    request.ticket = ""
    return request


async def rest_sell(client: CoinbaseClient, product_id: str, size: Decimal, limit: str) -> str:
    """A limit order above the market, made past the executor; its exchange id."""
    terms = {"base_size": format(size, "f"), "limit_price": limit, "post_only": True}
    body = {
        "client_order_id": str(uuid4()),
        "product_id": product_id,
        "side": "SELL",
        "order_configuration": {"limit_limit_gtc": terms},
    }
    outcome = await client.create_order(json.dumps(body).encode())
    assert isinstance(outcome, Accepted), outcome
    return outcome.exchange_order_id
