"""What the exchange has free of a coin, asked within a bound: an exit never waits for this answer, it only profits."""

import asyncio
from decimal import localcontext
from typing import Any

from exchange_client import Exchange
from meshkit.errors import MeshError
from tradekit.decimals import CONTEXT, ZERO
from tradekit.products import base_currency
from tradekit.units import BaseSize, ProductId

PATIENCE_SECONDS = 1.5


class Availability:
    """Free balances by the exchange's own list of wallets."""

    def __init__(self, exchange: Exchange, log: Any) -> None:
        self._exchange = exchange
        self._log = log

    async def of(self, product_id: ProductId) -> BaseSize | None:
        """What of a product's coin is not on hold; None if the exchange does not say in time."""
        currency = base_currency(product_id)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                accounts = await self._exchange.accounts()
        except (MeshError, TimeoutError) as error:
            self._log.warning("availability_unknown", currency=currency, why=type(error).__name__)
            return None
        with localcontext(CONTEXT):
            return BaseSize(sum((one.available for one in accounts if one.currency == currency), ZERO))
