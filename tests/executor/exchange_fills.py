"""Fills as the exchange tells them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

from exchange_client import ExchangeFill
from tradekit.decimals import CONTEXT

AT = datetime(2025, 1, 1, tzinfo=UTC)


def fill(side: str, price: Decimal, size: Decimal, rate: Decimal, **changes: Any) -> ExchangeFill:
    with localcontext(CONTEXT):
        values = {"commission": price * size * rate, **changes}
    return ExchangeFill(
        **{
            "entry_id": "e",
            "trade_id": "t",
            "order_id": "o",
            "product_id": "BTC-USD",
            "side": side,
            "trade_type": "FILL",
            "price": price,
            "size": size,
            "size_in_quote": False,
            "liquidity": "TAKER",
            "trade_time": AT,
            **values,
        }
    )
